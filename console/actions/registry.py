"""The registry as this console has it: every action with the keys that are in force. One immutable value."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from console.actions.action import Action
from console.actions.catalog import ACTIONS
from console.model.frame import Frame

_NAMED = re.compile(r"\{([a-z0-9_]+)\}")


@dataclass(frozen=True, slots=True, eq=False)
class Registry:
    """The actions in their order. Equal only to itself, so that comparing two views stays cheap."""

    actions: tuple[Action, ...] = ACTIONS
    by_id: Mapping[str, Action] = field(init=False)
    sharing: Mapping[str, tuple[Action, ...]] = field(init=False)
    """By action: those that stand in its entry of the key bar."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {action.id: action for action in self.actions})
        sharing = {action.id: tuple(other for other in self.actions if other.bar_with == action.id) for action in self}
        object.__setattr__(self, "sharing", sharing)

    def __iter__(self) -> Iterator[Action]:
        return iter(self.actions)

    def key(self, action_id: str) -> str:
        """The first key as a person reads it; of an action without a key the way through the palette."""
        action = self.by_id[action_id]
        return action.first_key_label or f"{self.by_id['palette'].first_key_label} “{action.title}”"

    def with_keys(self, sentence: str) -> str:
        """The sentence with the key of each action that it names as `{id}`."""

        def key_of(found: re.Match[str]) -> str:
            return self.key(found[1]) if found[1] in self.by_id else found[0]

        return _NAMED.sub(key_of, sentence) if "{" in sentence else sentence

    def reason(self, action: Action, frame: Frame) -> str | None:
        """Why the action cannot be performed now, with the keys of the next step; None when it can."""
        reason = action.unavailable(frame)
        return None if reason is None else self.with_keys(reason)


DEFAULT = Registry()
