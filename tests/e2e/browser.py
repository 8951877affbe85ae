"""The headless browser of the tests: its path, and whether it is required."""

import os
import shutil

REQUIRED = "EMBEDCONSOLE_REQUIRE_BROWSER"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")


def browser() -> str | None:
    """Returns the browser's path; None if there is none. Fails if EMBEDCONSOLE_REQUIRE_BROWSER requires one."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    assert found or not os.environ.get(REQUIRED), f"no browser, and {REQUIRED} is set: apt-get install chromium"
    return found
