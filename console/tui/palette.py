"""The command palette's rows: the registry's actions that can be performed now."""

from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from console.actions.action import Action
from console.actions.registry import DEFAULT, Registry
from console.model.frame import Frame


class ActionProvider(Provider):
    """Asks the app for the frame, the mode and the command form."""

    def _offers(self) -> list[tuple[Action, str, str]]:
        frame: Frame = getattr(self.app, "frame", Frame())
        registry: Registry = getattr(self.app, "registry", DEFAULT)
        mode = getattr(self.app, "current_mode", "live")
        form = getattr(self.app, "cli_form", lambda _action: "")
        return [
            (action, action.name(frame), " · ".join(part for part in (action.help, form(action)) if part))
            for action in registry
            if action.id != "palette" and mode in action.modes and action.unavailable(frame) is None
        ]

    async def discover(self) -> Hits:
        for action, name, about in self._offers():
            yield DiscoveryHit(_labelled(action, name), self._call(action), name, about)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for action, name, about in self._offers():
            if (score := matcher.match(name)) > 0:
                yield Hit(score, matcher.highlight(name), self._call(action), name, about)

    def _call(self, action: Action) -> "partial[bool]":
        return partial(self.app.call_later, self.app.run_action, f"perform({action.id!r})")


def _labelled(action: Action, name: str) -> str:
    """The name with its keys; Textual reads markup in it."""
    return (f"{name}  [{action.key_label}]" if action.keys else name).replace("[", r"\[")
