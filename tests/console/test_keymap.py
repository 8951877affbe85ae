"""A keymap changes keys everywhere at once; one that cannot be used says where, why, and what would do."""

from pathlib import Path

import pytest
from textual.binding import BindingsMap

from console.actions.action import SHOWN
from console.actions.catalog import ACTIONS
from console.actions.keymap import KEYMAP_VARIABLE, LIST_KEYS, KeymapError, as_toml, keymap_in_force, parse_keymap
from console.tui.modes import SCREENS
from tests.console.conftest import Open
from tests.console.fakes import scenes

CHANGED = """
engine = "f5"
cancel_switch = ["s", "ctrl+x"]
restart = ","
load_toggle = []
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('engin = "x"', "line 1, engin: no such action: did you mean engine?"),
        ('zzz = "x"', "`embedconsole keys` lists them"),
        ('\nengine = "x"', "line 2, engine: 'x' is also the key of cancel_switch (Cancel the switch) in Live"),
        ('theme = "<"', "'<' is also the key of replay_slower (Slower) in Replay"),
        ('run_open = "k"', "'k' moves the cursor in Runs"),
        ('engine = "ctrl+m"', "most terminals send 'ctrl+m' as Enter"),
        ('engine = "escape"', "closes dialogs"),
        ('engine = "ctrl+c"', "copies a selection or quits"),
        ('engine = "shift+a"', "write 'A'"),
        ('engine = ["f5", "foo"]', "'foo' is not a key: write a character, ctrl+letter"),
        ('engine = ""', "'' is not a key"),
        ("engine = 5", "write a key in quotes"),
        ("quit = []", "this action needs a key"),
        ("engine = ", "not TOML"),
    ],
)
def test_a_keymap_that_cannot_be_used_says_where_why_and_what_would_do(text: str, words: str) -> None:
    with pytest.raises(KeymapError) as refused:
        parse_keymap(text, "keymap.toml")
    assert str(refused.value).startswith("keymap.toml")
    assert words in str(refused.value)


def test_keys_may_change_places_and_a_sentence_names_those_in_force() -> None:
    registry = parse_keymap(CHANGED, "keymap.toml")
    assert registry.reason(registry.by_id["backend"], scenes.switching()) == (
        "A switch is in progress: wait for it, or cancel it with s"
    )
    assert registry.reason(registry.by_id["backend"], scenes.stopped()) == "The engine is stopped: F5 starts it"
    assert registry.with_keys("{load_toggle} and {no_such}") == "^p “Start or stop the load” and {no_such}"


def test_what_keys_prints_is_a_keymap_that_changes_nothing() -> None:
    for text in ("", CHANGED):
        registry = parse_keymap(text, "keymap.toml")
        again = parse_keymap(as_toml(registry), "printed")
        assert [action.keys for action in again] == [action.keys for action in registry]


def test_what_keys_prints_tells_of_each_key_where_it_acts() -> None:
    lines = dict(line.split(" = ", 1) for line in as_toml(parse_keymap("", "")).splitlines() if " = " in line)
    assert lines["replay_faster"].split() == ['">"', "#", "Faster", "·", "Replay"]
    assert lines["replay_leave"].startswith('"escape"')
    assert lines["engine"].endswith("# Start or stop the engine · not Replay")
    assert lines["maximise"].endswith("# Maximise or restore a tile · Live, Replay")
    assert lines["help"].endswith("# Help")


def test_the_file_asked_for_wins_over_the_variable_and_over_the_users_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, named, asked = (tmp_path / name for name in ("own.toml", "named.toml", "asked.toml"))
    for path, key in ((own, "f1"), (named, "f2"), (asked, "f3")):
        path.write_text(f'engine = "{key}"')
    monkeypatch.setattr("console.actions.keymap.keymap_path", lambda: own)
    monkeypatch.delenv(KEYMAP_VARIABLE, raising=False)
    assert keymap_in_force().by_id["engine"].keys == ("f1",)
    monkeypatch.setenv(KEYMAP_VARIABLE, str(named))
    assert keymap_in_force().by_id["engine"].keys == ("f2",)
    assert keymap_in_force(str(asked)).by_id["engine"].keys == ("f3",)
    with pytest.raises(KeymapError, match=r"embedconsole keys > gone\.toml"):
        keymap_in_force(str(tmp_path / "gone.toml"))
    own.unlink()
    monkeypatch.delenv(KEYMAP_VARIABLE)
    assert [action.keys for action in keymap_in_force()] == [action.keys for action in ACTIONS]


def test_the_cursor_keys_that_no_action_can_have_are_those_of_the_screens() -> None:
    for mode in SHOWN:
        make = SCREENS[mode]
        assert callable(make)
        keys = set(BindingsMap(type(make()).BINDINGS).key_to_bindings) - {"escape"}
        assert keys == LIST_KEYS[mode]


async def test_bindings_key_bar_panels_help_and_messages_follow_the_keymap(console: Open) -> None:
    registry = parse_keymap(CHANGED, "keymap.toml")
    async with console(scenes.stopped(), registry=registry) as it:
        assert "F5 Start" in it.text("keybar")
        assert "start it with F5" in it.text("throughput")
        await it.press("b")
        assert it.said == "The engine is stopped: F5 starts it"
        await it.press("f5")
        assert it.session.calls == [("start_engine",)]
        await it.press("comma")
        assert "F5 starts it" in it.said
        await it.press("question_mark")
        assert "  F5      Start or stop the engine" in it.text("box")


async def test_an_action_without_a_key_stays_in_the_key_bar_for_the_mouse_and_in_the_palette(console: Open) -> None:
    async with console(scenes.idle(), registry=parse_keymap("load_toggle = []", "keymap.toml")) as it:
        assert "Start load" in it.text("keybar")
        await it.press("L")
        assert it.session.calls == []
        await it.app.action_perform("load_toggle")
        assert it.session.calls[0][0] == "start_load"
