"""Sweeps that commit 31acd2e began: the same files give the same cells, so that `--resume` repeats nothing."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.cli.main import cli
from console.sweep.spec import SweepSpec, parse_spec, preset
from tests.unit.frozen.recorded import RECORDED, changed_fields, differences, recorded

CELLS = recorded("cells.json")


@pytest.fixture(autouse=True)
def beside_the_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus is a path as it was written: that of every-axis.toml is relative."""
    monkeypatch.chdir(RECORDED)


def hashes(spec: SweepSpec) -> list[str]:
    return [cell.hash for cell in spec.points]


@pytest.mark.parametrize("text", CELLS["specs"], ids=lambda text: text[:40].replace("\n", " "))
def test_every_axis_and_setting_gives_the_cells_that_it_gave(text: str) -> None:
    assert hashes(parse_spec(text, "spec", "spec")) == CELLS["specs"][text]


@pytest.mark.parametrize("name", CELLS["presets"])
def test_a_preset_s_text_gives_the_cells_that_it_gave(name: str) -> None:
    assert hashes(parse_spec(CELLS["preset_texts"][name], name, name)) == CELLS["presets"][name]


@pytest.mark.parametrize("name", CELLS["presets"])
def test_a_preset_still_asks_for_the_cells_that_it_asked_for(name: str) -> None:
    assert set(CELLS["presets"][name]) <= set(hashes(preset(name)))


def test_resuming_a_stored_sweep_measures_nothing_again(tmp_path: Path) -> None:
    store = Path(shutil.copy(RECORDED / "runs.sqlite", tmp_path))
    done = CliRunner().invoke(cli, ["sweep", "sweep.toml", "--resume", "--json", "--store", str(store)])
    resumed = json.loads(done.stdout)
    assert all(cell["resumed"] and cell["status"] == "done" for cell in resumed["cells"])
    assert not differences(recorded("outputs/resumed.json"), resumed)
    assert not changed_fields(recorded("outputs/sweep.json"), resumed)
