"""An action of the user: keys, title and help, equivalent command, and the condition under which it is available."""

from collections.abc import Callable
from dataclasses import dataclass

from console.model.engine import EngineSpec
from console.model.frame import Frame

Availability = Callable[[Frame], str | None]
"""Returns None if the action is available, else the reason and the next step in one sentence."""
CliForm = Callable[[Frame, EngineSpec], str]
"""Returns the command line that does the same without the console."""

LIVE = "live"
SWEEP = "sweep"
RUNS = "runs"
COMPARE = "compare"
LOG = "log"
MODES = (LIVE, SWEEP, RUNS, COMPARE, LOG)
"""In the order of their keys, 1 to 5."""
REPLAY = "replay"
"""A stored run on a separate Live screen; opened from Runs, it has no key."""
SHOWN = (*MODES, REPLAY)
"""Every mode of a screen: those with a key, then the replay."""
EVERYWHERE = frozenset(SHOWN)


def always(_frame: Frame) -> str | None:
    """The availability of an action that can always be performed."""
    return None


@dataclass(frozen=True, slots=True)
class Action:
    """An action of the user.

    `bar_rank` is the priority in the key bar: a lower rank stays longer as room shrinks, 0 is never shown.
    """

    id: str
    keys: tuple[str, ...]
    title: str
    help: str
    group: str
    short: str = ""
    bar_rank: int = 0
    bar_with: str = ""
    """Id of the action whose key bar entry this one shares: `[ ] Batch`."""
    modes: frozenset[str] = EVERYWHERE
    unavailable: Availability = always
    cli: CliForm | None = None
    label: Callable[[Frame], str] | None = None
    """Returns the title for the current state, such as `Start engine` or `Stop engine`."""

    def name(self, frame: Frame) -> str:
        """The title for the current state."""
        return self.label(frame) if self.label else self.title

    @property
    def key_label(self) -> str:
        """The keys as they are displayed; empty without a key."""
        return " ".join(key_label(key) for key in self.keys)

    @property
    def first_key_label(self) -> str:
        """The first key as it is displayed; empty without a key."""
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
    """Returns a key as it is displayed: `^p`, `F12`, `←`; a character is unchanged."""
    if key.startswith("ctrl+"):
        return f"^{key_label(key.removeprefix('ctrl+'))}"
    if key[:1] == "f" and key[1:].isdecimal():
        return key.upper()
    return _KEY_LABELS.get(key, key)
