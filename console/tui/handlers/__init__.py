"""The handlers of actions: what each action of the catalog does in the app.

Each module has a mapping `HANDLERS`, from action ids to handlers. Importing this package raises ValueError where the
mappings together do not match the catalog.
"""

from typing import TYPE_CHECKING

from console.actions.catalog import BY_ID
from console.tui.handlers import engine, experiments, general, recording, replay, view
from console.tui.handlers.handler import Handler, assemble

if TYPE_CHECKING:
    from console.tui.app_port import AppPort

HANDLERS: dict[str, Handler] = assemble(
    BY_ID, engine.HANDLERS, experiments.HANDLERS, general.HANDLERS, recording.HANDLERS, replay.HANDLERS, view.HANDLERS
)
"""The handler of every action, by its id."""


async def perform(app: "AppPort", action_id: str) -> None:
    """Performs an action that is available now. Raises CommandRefused where its handler refuses."""
    await HANDLERS[action_id](app)
