"""The screen of each mode. All but Live are imported when they are first shown."""

from collections.abc import Callable
from typing import Any

from textual.screen import Screen

from console.tui.screens.modes.live import LiveScreen


def _sweep() -> Screen[None]:
    from console.tui.screens.modes.sweep import SweepScreen

    return SweepScreen()


def _runs() -> Screen[None]:
    from console.tui.screens.modes.runs import RunsScreen

    return RunsScreen()


def _compare() -> Screen[None]:
    from console.tui.screens.modes.compare import CompareScreen

    return CompareScreen()


def _log() -> Screen[None]:
    from console.tui.screens.modes.log import LogScreen

    return LogScreen()


SCREENS: dict[str, str | Callable[[], Screen[Any]]] = {
    "live": LiveScreen,
    "sweep": _sweep,
    "runs": _runs,
    "compare": _compare,
    "log": _log,
    "replay": LiveScreen,
}
