"""An action: something a person can do, with its keys, its words, its CLI form and when it cannot be done."""

from collections.abc import Callable
from dataclasses import dataclass

from console.model.engine import EngineSpec
from console.model.frame import Frame

Availability = Callable[[Frame], str | None]
"""None when the action can be performed now, else the reason and the next step in one sentence."""
CliForm = Callable[[Frame, EngineSpec], str]

LIVE = "live"
SWEEP = "sweep"
RUNS = "runs"
COMPARE = "compare"
LOG = "log"
MODES = (LIVE, SWEEP, RUNS, COMPARE, LOG)
"""In the order of their keys, 1 to 5."""
REPLAY = "replay"
"""A stored run on a Live screen of its own: entered from Runs, it has no key of its own."""
SHOWN = (*MODES, REPLAY)
"""All that a screen can be in: those with a key of their own, then the replay."""
EVERYWHERE = frozenset(SHOWN)


def always(_frame: Frame) -> str | None:
    """Can be performed at any time."""
    return None


@dataclass(frozen=True, slots=True)
class Action:
    """Something a person can do. `bar_rank` orders the key bar (lower stays longer); 0 keeps it out."""

    id: str
    keys: tuple[str, ...]
    title: str
    help: str
    group: str
    short: str = ""
    bar_rank: int = 0
    bar_with: str = ""
    """The action whose key bar entry this one shares: `[ ] Batch`."""
    modes: frozenset[str] = EVERYWHERE
    unavailable: Availability = always
    cli: CliForm | None = None
    label: Callable[[Frame], str] | None = None
    """The title that fits the moment, e.g. `Start engine` or `Stop engine`."""

    def name(self, frame: Frame) -> str:
        """The title now."""
        return self.label(frame) if self.label else self.title

    @property
    def key_label(self) -> str:
        """The keys as a person reads them; empty where it has none."""
        return " ".join(key_label(key) for key in self.keys)

    @property
    def first_key_label(self) -> str:
        """The first key as a person reads it; empty where it has none."""
        return key_label(self.keys[0]) if self.keys else ""


_KEY_LABELS = {
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "escape": "esc",
}


def key_label(key: str) -> str:
    """`^p`, `F12`, `←`; a character as it is."""
    if key.startswith("ctrl+"):
        return f"^{key_label(key.removeprefix('ctrl+'))}"
    if key[:1] == "f" and key[1:].isdecimal():
        return key.upper()
    return _KEY_LABELS.get(key, key)
