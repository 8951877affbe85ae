"""Promises of the handlers: each action of the catalog has exactly one, and any other set is refused by name."""

from typing import TYPE_CHECKING

import pytest
from textual.command import CommandPalette

from console.actions.catalog import ACTIONS
from console.tui.handlers import HANDLERS
from console.tui.handlers.handler import Handler, assemble
from console.tui.modes import SCREENS
from console.tui.screens.dialogs.dialog import Dialog
from console.tui.screens.protocols import ExportsRows, ShowsFrames

if TYPE_CHECKING:
    from console.tui.app_port import AppPort


async def does_nothing(_app: "AppPort") -> None:
    pass


def test_the_handled_ids_are_exactly_the_ids_of_the_catalog() -> None:
    assert set(HANDLERS) == {action.id for action in ACTIONS}


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ([{"start": does_nothing}], "without a handler: stop"),
        ([{"start": does_nothing, "stop": does_nothing}, {"strat": does_nothing}], "no action of the catalog: strat"),
        ([{"start": does_nothing, "stop": does_nothing}, {"stop": does_nothing}], "more than one handler: stop"),
    ],
    ids=["missing", "unknown", "twice"],
)
def test_a_wrong_set_of_handlers_is_refused_and_the_ids_are_named(parts: list[dict[str, Handler]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        assemble(("start", "stop"), *parts)


def test_a_handler_is_kept_under_the_id_that_it_was_given() -> None:
    async def other(_app: "AppPort") -> None:
        pass

    assert assemble(("start", "stop"), {"stop": other}, {"start": does_nothing}) == {
        "start": does_nothing,
        "stop": other,
    }


def test_every_screen_of_a_mode_shows_frames_and_exports_rows_or_is_the_log() -> None:
    for mode, make in SCREENS.items():
        screen = make() if callable(make) else make
        assert isinstance(screen, ShowsFrames), mode
        assert isinstance(screen, ExportsRows) == (mode != "log"), mode


def test_every_dialog_shows_frames_and_the_command_palette_does_not() -> None:
    assert issubclass(Dialog, ShowsFrames)
    assert not issubclass(CommandPalette, ShowsFrames)
