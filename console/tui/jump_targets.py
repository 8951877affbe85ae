"""The targets of the Jump dialog: the modes, the tiles of Live and the dialogs, each with a letter."""

from dataclasses import dataclass

from console.actions.action import LIVE, LOG, MODES, RUNS, SWEEP


@dataclass(frozen=True, slots=True)
class JumpTarget:
    """A mode; with `tile`, a tile that is maximised in it; with `action`, an action that is performed in it."""

    letter: str
    name: str
    mode: str = LIVE
    tile: str = ""
    action: str = ""


MODE_TARGETS = tuple(JumpTarget(str(at), mode.capitalize(), mode) for at, mode in enumerate(MODES, start=1))
DIALOGS = (
    JumpTarget("b", "Switch backend or precision", action="backend"),
    JumpTarget("a", "Load settings", action="load"),
    JumpTarget("k", "Knobs", action="knobs"),
    JumpTarget("i", "Details of the warnings", action="details"),
    JumpTarget("x", "New sweep", SWEEP, action="sweep_new"),
    JumpTarget("f", "Filter the runs", RUNS, action="run_filter"),
    JumpTarget("g", "Filter the log", LOG, action="log_filter"),
)
TILES = (
    JumpTarget("t", "Throughput", tile="throughput"),
    JumpTarget("l", "Latency", tile="latency"),
    JumpTarget("q", "Batch fill and queue", tile="queue"),
    JumpTarget("n", "Now", tile="now"),
    JumpTarget("s", "Switch: before → after", tile="switch"),
    JumpTarget("w", "Where the time goes", tile="stages"),
    JumpTarget("h", "Host and console", tile="host"),
    JumpTarget("e", "Engine", tile="engine"),
    JumpTarget("m", "Capability matrix", tile="matrix"),
    JumpTarget("o", "Load", tile="load"),
    JumpTarget("v", "Events and engine log", tile="events"),
)
