"""Pictures of the console, compared pixel for pixel: every state that matters, every size, every theme."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from textual.pilot import Pilot

from console.model.engine import Batching, ServingPlan
from console.model.frame import Frame
from console.sweep.state import SweepState
from console.tui.app import ConsoleApp
from tests.console.fakes import recorded, scenes, sweeps
from tests.console.fakes.experiments import FakeExperiments
from tests.console.fakes.session import FakeSession

SnapCompare = Callable[..., bool]
SMALL, MIDDLE, LARGE = (80, 24), (120, 40), (200, 50)


def picture(
    snap_compare: SnapCompare,
    frame: Frame,
    size: tuple[int, int],
    *keys: str,
    theme: str = "dark",
    port: FakeExperiments | None = None,
) -> bool:
    """Whether the console looks on this scene, after these keys, as it looked when the picture was accepted."""
    app = ConsoleApp(
        lambda: FakeSession(frame),
        start=False,
        clock_s=0,
        clock=lambda: 0.0,
        make_experiments=lambda _: port or FakeExperiments(),
    )
    app.animation_level = "none"
    app.theme = theme

    async def beat(pilot: Pilot[Any]) -> None:
        for key in ("", *keys):
            if key:
                await pilot.press(key)
            for _ in range(2):
                await pilot.pause()
                await app.workers.wait_for_complete()
                for _ in range(6):
                    app.tick()
                await pilot.pause()

    return snap_compare(app, terminal_size=size, run_before=beat)


STATES: dict[str, Callable[[], Frame]] = {
    "stopped": scenes.stopped,
    "starting": scenes.starting,
    "idle": scenes.idle,
    "busy": scenes.busy,
    "few": scenes.few,
    "fallback": scenes.fallback,
    "switching": scenes.switching,
    "lost": scenes.lost,
}


@pytest.mark.parametrize("state", ["starting", "fallback", "lost", "few"])
def test_80x24(snap_compare: SnapCompare, state: str) -> None:
    assert picture(snap_compare, STATES[state](), SMALL)


@pytest.mark.parametrize("state", ["busy", "switching"])
def test_120x40(snap_compare: SnapCompare, state: str) -> None:
    assert picture(snap_compare, STATES[state](), MIDDLE)


@pytest.mark.parametrize("state", ["stopped", "starting", "idle", "fallback", "lost"])
def test_200x50(snap_compare: SnapCompare, state: str) -> None:
    assert picture(snap_compare, STATES[state](), LARGE)


@pytest.mark.parametrize("theme", ["light", "high-contrast"])
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "200x50"])
def test_themes(snap_compare: SnapCompare, theme: str, size: tuple[int, int]) -> None:
    assert picture(snap_compare, scenes.fallback(), size, theme=theme)


def test_no_color(snap_compare: SnapCompare, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert picture(snap_compare, scenes.fallback(), SMALL)


def test_below_80x24(snap_compare: SnapCompare) -> None:
    assert picture(snap_compare, scenes.fallback(), (60, 14))


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("switch", ("b", "right", "right", "right")),
        ("load", ("l", "down", "down", "down")),
        ("details", ("i",)),
        ("help", ("question_mark",)),
        ("quit", ("q",)),
        ("log", ("5",)),
        ("filter", ("5", "slash", "S", "1")),
        ("frozen", ("space",)),
        ("log_scale", ("v", "-")),
        ("copied", ("y",)),
    ],
)
def test_dialogs_and_views(snap_compare: SnapCompare, name: str, keys: tuple[str, ...]) -> None:
    assert name
    assert picture(snap_compare, scenes.fallback(), SMALL if name != "help" else MIDDLE, *keys)


VIEWS = {
    "pinned": ("w",),
    "marked": ("m", *"gc off", "enter"),
    "panned": ("left",),
    "maximised_latency": ("z", "l"),
    "maximised_engine": ("z", "e"),
    "jump": ("ctrl+o",),
    "open_loop": ("o",),
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "200x50"])
def test_views(snap_compare: SnapCompare, name: str, size: tuple[int, int]) -> None:
    assert picture(snap_compare, scenes.busy(), size, *VIEWS[name])


def test_knobs(snap_compare: SnapCompare) -> None:
    frame = scenes.fallback()
    knobs = Batching(max_batch_tokens=2048, max_batch_items=64)
    engine = replace(frame.engine, plan=ServingPlan(2, 1, 512, 64, 12, texts_per_s=322), batching=knobs)
    assert picture(snap_compare, replace(frame, engine=engine), SMALL, "k", "down", "down", "down")


def sweeping(state: SweepState) -> FakeExperiments:
    """The recorded runs, and a sweep at that moment."""
    port = recorded.experiments()
    port.sweeps.state = state
    return port


EXPERIMENTS: dict[str, tuple[Callable[[], FakeExperiments], tuple[str, ...]]] = {
    "runs": (recorded.experiments, ("3", "j", "space", "j", "j")),
    "runs_empty": (lambda: recorded.experiments(0), ("3",)),
    "runs_filter": (recorded.experiments, ("3", "slash", "i", "n", "t", "8")),
    "run_opened": (recorded.experiments, ("3", "G", "enter")),
    "run_gate": (recorded.experiments, ("3", "a", "enter")),
    "run_delete": (recorded.experiments, ("3", "d")),
    "replay": (recorded.experiments, ("3", "G", "R", "right", "right", "greater_than_sign", "space")),
    "replay_ended": (recorded.experiments, ("3", "j", "R", "end")),
    "sweep_none": (recorded.experiments, ("2",)),
    "sweep_new": (recorded.experiments, ("2", "n", "down")),
    "sweep_running": (lambda: sweeping(sweeps.running()), ("2",)),
    "sweep_stop": (lambda: sweeping(sweeps.running()), ("2", "X")),
    "sweep_ended": (lambda: sweeping(sweeps.ended()), ("2", "G", "v")),
    "compare": (recorded.experiments, ("3", "G", "space", "k", "k", "k", "k", "space", "c")),
    "compare_four": (recorded.experiments, ("3", "j", "space", "space", "space", "space", "c", "v", "right")),
    "compare_none": (recorded.experiments, ("4",)),
}
"""What is in the store and on the runner, and the keys that lead to what is looked at."""


@pytest.mark.parametrize("name", EXPERIMENTS)
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["80x24", "200x50"])
def test_experiments(snap_compare: SnapCompare, name: str, size: tuple[int, int]) -> None:
    port, keys = EXPERIMENTS[name]
    assert picture(snap_compare, scenes.busy(), size, *keys, port=port())


@pytest.mark.parametrize("name", ["runs", "sweep_running", "compare"])
def test_experiments_in_a_light_theme(snap_compare: SnapCompare, name: str) -> None:
    port, keys = EXPERIMENTS[name]
    assert picture(snap_compare, scenes.busy(), LARGE, *keys, theme="light", port=port())


@pytest.mark.parametrize("name", ["runs", "sweep_running", "compare"])
def test_experiments_without_colour(snap_compare: SnapCompare, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    port, keys = EXPERIMENTS[name]
    assert picture(snap_compare, scenes.busy(), SMALL, *keys, port=port())
