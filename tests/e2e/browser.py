"""A headless browser as a test uses it: where it is, and whether it must be there."""

import os
import shutil

REQUIRED = "EMBEDCONSOLE_REQUIRE_BROWSER"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


def browser() -> str | None:
    """The program; None where there is none. Fails where EMBEDCONSOLE_REQUIRE_BROWSER says that there must be."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    assert found or not os.environ.get(REQUIRED), f"no browser, and {REQUIRED} is set: apt-get install chromium"
    return found
