"""The type of a handler, and the assembly of the handlers of several modules into one mapping."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from console.tui.app_port import AppPort

Handler = Callable[["AppPort"], Awaitable[None]]
"""Performs one action. Raises CommandRefused with the reason and the next step where it cannot."""


def assemble(action_ids: Iterable[str], *parts: Mapping[str, Handler]) -> dict[str, Handler]:
    """Returns the handler of each action by its id.

    Raises ValueError that names the ids without a handler, those with more than one, and those of no action.
    """
    handlers: dict[str, Handler] = {}
    repeated: set[str] = set()
    for part in parts:
        repeated |= handlers.keys() & part.keys()
        handlers |= part
    known = set(action_ids)
    faults = (
        ("without a handler", known - handlers.keys()),
        ("with more than one handler", repeated),
        ("handled, but no action of the catalog", handlers.keys() - known),
    )
    if found := [f"{what}: {', '.join(sorted(ids))}" for what, ids in faults if ids]:
        raise ValueError(f"handlers and actions do not match ({'; '.join(found)})")
    return handlers
