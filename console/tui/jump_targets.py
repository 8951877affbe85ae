"""Where one can jump: the modes, the tiles of Live, and the dialogs, each by one letter."""

from dataclasses import dataclass

from console.actions.action import LIVE, LOG, MODES, RUNS, SWEEP


@dataclass(frozen=True, slots=True)
class Place:
    """A mode, and in it a tile that gets the screen to itself, or an action that opens something."""

    letter: str
    name: str
    mode: str = LIVE
    tile: str = ""
    action: str = ""


MODE_PLACES = tuple(Place(str(at), mode.capitalize(), mode) for at, mode in enumerate(MODES, start=1))
DIALOGS = (
    Place("b", "Switch backend or precision", action="backend"),
    Place("a", "Load settings", action="load"),
    Place("k", "Knobs", action="knobs"),
    Place("i", "Details of the warnings", action="details"),
    Place("x", "New sweep", SWEEP, action="sweep_new"),
    Place("f", "Filter the runs", RUNS, action="run_filter"),
    Place("g", "Filter the log", LOG, action="log_filter"),
)
TILES = (
    Place("t", "Throughput", tile="throughput"),
    Place("l", "Latency", tile="latency"),
    Place("q", "Batch fill and queue", tile="queue"),
    Place("n", "Now", tile="now"),
    Place("s", "Switch, before → after", tile="switch"),
    Place("w", "Where the time goes", tile="stages"),
    Place("h", "Host and console", tile="host"),
    Place("e", "Engine", tile="engine"),
    Place("m", "Capability matrix", tile="matrix"),
    Place("o", "Load", tile="load"),
    Place("v", "Events and engine log", tile="events"),
)
