"""`embedconsole report -o`: the extension says the format, and a file that exists stays as it is."""

from dataclasses import replace
from pathlib import Path

import pytest

from console.cli.main import main
from console.store.read import list_runs
from tests.unit.console.support.made import GOOD, record, store_in


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with store_in(tmp_path) as store:
        record(store, replace(GOOD, errors={}))
        assert list_runs(store)
    return tmp_path


def report(folder: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["report", "last", "--store", str(folder / "runs.sqlite"), *arguments])
    return int(ended.value.code or 0)


@pytest.mark.parametrize("name", ["results.pdf", "results", "results.htm", "results.md.bak"])
def test_an_extension_that_is_not_known_is_refused_and_nothing_is_written(
    folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(folder, "-o", str(folder / name)) == 3
    assert "end the file's name with one of .md, .html, .json, .csv, or give --format" in capsys.readouterr().err
    assert not (folder / name).exists()


def test_with_a_named_format_any_extension_will_do(folder: Path) -> None:
    assert report(folder, "-o", str(folder / "results.txt"), "--format", "md") == 0
    assert (folder / "results.txt").read_text().startswith("# ")


@pytest.mark.parametrize("kind", ["md", "html", "json", "csv"])
def test_a_file_that_exists_is_written_over_only_with_force(
    folder: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / f"results.{kind.upper()}"
    path.write_text("mine")
    assert report(folder, "-o", str(path)) == 3
    assert f"{path} exists: --force overwrites it, or name another file" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert report(folder, "-o", str(path), "--force") == 0
    assert path.read_text() != "mine"


def test_what_is_no_regular_file_may_be_written_to(folder: Path) -> None:
    assert report(folder, "-o", "/dev/null", "--format", "md") == 0
