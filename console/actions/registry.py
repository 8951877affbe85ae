"""The registry: every action with its keys after the keymap is applied. Immutable."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from console.actions.action import Action
from console.actions.catalog import ACTIONS
from console.model.frame import Frame

_NAMED = re.compile(r"\{([a-z0-9_]+)\}")


@dataclass(frozen=True, slots=True, eq=False)
class Registry:
    """The actions in display order. Compared by identity, so that comparing two views is cheap."""

    actions: tuple[Action, ...] = ACTIONS
    by_id: Mapping[str, Action] = field(init=False)
    sharing: Mapping[str, tuple[Action, ...]] = field(init=False)
    """By id: the actions that share its entry of the key bar."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_id", {action.id: action for action in self.actions})
        sharing = {action.id: tuple(other for other in self.actions if other.bar_with == action.id) for action in self}
        object.__setattr__(self, "sharing", sharing)

    def __iter__(self) -> Iterator[Action]:
        return iter(self.actions)

    def key(self, action_id: str) -> str:
        """Returns the first key of an action as displayed, or the palette's key and the title if it has none."""
        action = self.by_id[action_id]
        return action.first_key_label or f"{self.by_id['palette'].first_key_label} “{action.title}”"

    def with_keys(self, sentence: str) -> str:
        """Returns the sentence with each `{id}` replaced by the key of that action."""

        def key_of(match: re.Match[str]) -> str:
            return self.key(match[1]) if match[1] in self.by_id else match[0]

        return _NAMED.sub(key_of, sentence) if "{" in sentence else sentence

    def reason(self, action: Action, frame: Frame) -> str | None:
        """Returns why the action is not available, with the keys of the next step; None if it is available."""
        reason = action.unavailable(frame)
        return None if reason is None else self.with_keys(reason)


DEFAULT = Registry()
