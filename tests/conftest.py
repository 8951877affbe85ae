"""One artifact cache for the whole suite, kept between runs: exporting the bundled model costs many seconds.

And one store of runs and one state of the console, so that no test reads or writes the user's.
"""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def artifact_cache(pytestconfig: pytest.Config) -> Path:
    """The cache folder; engines that tests start as processes inherit it. Artifacts in it are found by content."""
    assert pytestconfig.cache is not None
    folder = Path(pytestconfig.cache.mkdir("embedconsole"))
    os.environ["EMBEDCONSOLE_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def run_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where runs that tests start as processes are recorded."""
    path = tmp_path_factory.mktemp("store") / "runs.sqlite"
    os.environ["EMBEDCONSOLE_STORE"] = str(path)
    os.environ["EMBEDCONSOLE_STATE"] = str(path.with_name("console.json"))
    return path
