"""The rows of the command palette: the actions of the registry that are available now."""

from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from console.actions.action import Action

if TYPE_CHECKING:
    from console.tui.app_port import AppPort


class ActionProvider(Provider):
    """Offers the actions of the current mode, with their keys and command forms."""

    def _available(self) -> list[tuple[Action, str, str]]:
        """Each action with its name and its help."""
        app = cast("AppPort", self.app)
        return [
            (action, action.name(app.frame), " · ".join(part for part in (action.help, app.cli_form(action)) if part))
            for action in app.registry
            if action.id != "palette" and app.current_mode in action.modes and action.unavailable(app.frame) is None
        ]

    async def discover(self) -> Hits:
        for action, name, about in self._available():
            yield DiscoveryHit(_label(action, name), self._performing(action), name, about)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for action, name, about in self._available():
            if (score := matcher.match(name)) > 0:
                yield Hit(score, matcher.highlight(name), self._performing(action), name, about)

    def _performing(self, action: Action) -> "partial[bool]":
        return partial(self.app.call_later, self.app.run_action, f"perform({action.id!r})")


def _label(action: Action, name: str) -> str:
    """The name with its keys, escaped: Textual reads markup in it."""
    return (f"{name}  [{action.key_label}]" if action.keys else name).replace("[", r"\[")
