"""The console's own files, as commit 31acd2e wrote them: its state and the user's keys."""

import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from platformdirs import user_cache_path, user_config_path, user_data_path, user_state_path

from console.actions.keymap import keymap_in_force, keymap_path
from console.actions.saved_state import Memory, SavedState, state_path
from console.model.engine import EngineSpec
from console.model.load import LoadSpec
from console.store.database import store_path
from engine.host.cache import cache_root
from tests.unit.frozen.recorded import RECORDED, differences, recorded

STATE = SavedState(
    theme="light",
    mode="runs",
    zoom_s=300.0,
    log_y=True,
    load=LoadSpec(
        batch=8, concurrency=2, workload="pairs", corpus="mixed", stream=True, seed=5, rate=12.5, arrival="constant",
        ramp_s=1.5, max_in_flight=64,
    ),
    engine=EngineSpec(
        model="acme/encoder", backend="onnx", precision="int8", recipe="dynamic", device="cpu", instances=2, threads=1,
        strict=True, coalesce=False, port=50061, max_batch_tokens=2048, max_batch_items=16, max_wait_ms=1.5,
    ),
)  # fmt: skip

PLACES: dict[str, Callable[[], Path]] = {"STORE": store_path, "STATE": state_path, "CACHE": cache_root}


def test_the_console_s_state_is_restored() -> None:
    memory = Memory(RECORDED / "console.json")
    assert (memory.found, memory.notice) == (STATE, "")


def test_the_console_s_state_is_kept_under_the_same_names(tmp_path: Path) -> None:
    path = Path(shutil.copy(RECORDED / "console.json", tmp_path))
    Memory(path).keep(STATE)
    assert not differences(recorded("console.json"), json.loads(path.read_text()))


def test_every_action_of_a_keymap_is_known_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (RECORDED / "keymap.toml").read_text("utf-8")
    monkeypatch.setenv("EMBEDCONSOLE_KEYMAP", str(RECORDED / "keymap.toml"))
    registry = keymap_in_force()
    for action_id, keys in tomllib.loads(text).items():
        assert list(registry.by_id[action_id].keys) == ([keys] if isinstance(keys, str) else keys)


@pytest.mark.parametrize("variable", ["STORE", "STATE", "CACHE"])
def test_a_variable_names_another_place(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"EMBEDCONSOLE_{variable}", "/elsewhere/named")
    assert PLACES[variable]() == Path("/elsewhere/named")


def test_files_lie_in_the_user_s_folders_under_the_same_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in PLACES:
        monkeypatch.delenv(f"EMBEDCONSOLE_{variable}", raising=False)
    assert PLACES["STORE"]() == user_data_path("embedconsole") / "runs.sqlite"
    assert PLACES["STATE"]() == user_state_path("embedconsole") / "console.json"
    assert PLACES["CACHE"]() == user_cache_path("embedconsole")
    assert keymap_path() == user_config_path("embedconsole") / "keymap.toml"
