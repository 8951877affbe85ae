"""Promises of the registry: every action has its keys and its help, and says why it is not available."""

import shlex
from dataclasses import replace

import click
import pytest

from console.actions.action import MODES, REPLAY
from console.actions.catalog import ACTIONS, BY_ID
from console.actions.registry import DEFAULT
from console.cli.main import cli
from console.model.engine import EngineSpec, EngineState
from console.model.frame import Frame
from console.model.load import LoadSpec
from tests.console.fakes import scenes


def test_no_key_means_two_things_in_one_mode() -> None:
    for mode in (*MODES, REPLAY):
        keys = [key for action in ACTIONS if mode in action.modes for key in action.keys]
        assert len(keys) == len(set(keys))


def test_every_action_explains_itself() -> None:
    for action in ACTIONS:
        assert action.title
        assert action.help
        assert action.group


@pytest.mark.parametrize(
    ("action", "frame", "words"),
    [
        ("backend", scenes.stopped(), "s starts it"),
        ("precision", scenes.starting(), "still starting"),
        ("backend", scenes.switching(), "cancel it with x"),
        ("backend", scenes.lost(), "r restarts it"),
        ("cancel_switch", scenes.busy(), "b or p starts one"),
        ("load_toggle", scenes.stopped(), "s starts it"),
        ("restart", scenes.stopped(), "s starts it"),
        ("details", scenes.stopped(), "Nothing is served"),
        ("log_warning", scenes.stopped(), "no warning"),
    ],
)
def test_what_cannot_be_done_now_says_why_and_what_to_do(action: str, frame: Frame, words: str) -> None:
    reason = DEFAULT.reason(BY_ID[action], frame)
    assert reason is not None
    assert words in reason


def test_a_remote_engine_is_not_stopped_from_here() -> None:
    remote = replace(scenes.busy(), engine=replace(scenes.BASE, remote=True))
    assert "not started by this console" in str(BY_ID["engine"].unavailable(remote))
    assert "not started by this console" in str(BY_ID["restart"].unavailable(remote))


def test_the_running_load_can_be_stopped_even_when_the_engine_is_lost() -> None:
    assert BY_ID["load_toggle"].unavailable(scenes.lost()) is None


def test_batch_and_concurrency_stop_at_their_limits() -> None:
    spec = replace(scenes.busy().load.spec, batch=1, concurrency=1024)
    frame = replace(scenes.busy(), load=replace(scenes.busy().load, spec=spec))
    assert BY_ID["batch_down"].unavailable(frame)
    assert BY_ID["concurrency_up"].unavailable(frame)
    assert BY_ID["batch_up"].unavailable(frame) is None


def test_the_engine_key_is_named_for_what_it_would_do() -> None:
    engine = BY_ID["engine"]
    assert engine.name(scenes.stopped()) == "Start engine"
    assert engine.name(scenes.busy()) == "Stop engine"


def test_the_command_form_repeats_what_is_asked_for_and_quotes_paths() -> None:
    frame = scenes.fallback()
    spec = replace(frame.load.spec, corpus="/data/my texts.txt", stream=True, workload="pairs")
    frame = replace(frame, load=replace(frame.load, spec=spec))
    form = BY_ID["copy_cli"].cli
    assert form is not None
    assert form(frame, EngineSpec(model="org/name")) == (
        "embedconsole run --model org/name --backend onnx --precision int8 --batch 32 --concurrency 4 "
        "--workload pairs --corpus '/data/my texts.txt' --stream --duration 60s --json"
    )


def test_the_command_form_of_an_open_loop_has_its_rate_instead_of_a_concurrency() -> None:
    spec = LoadSpec(1, rate=250.0, arrival="constant", ramp_s=5.0, max_in_flight=64)
    frame = replace(scenes.busy(), load=replace(scenes.busy().load, spec=spec))
    form = BY_ID["copy_cli"].cli
    assert form is not None
    words = form(frame, EngineSpec())
    assert "--batch 1 --rate 250 --arrival constant --max-in-flight 64 --ramp 5s" in words
    assert "--concurrency" not in words


def test_the_command_form_of_a_remote_engine_connects() -> None:
    frame = replace(scenes.busy(), engine=replace(scenes.BASE, remote=True, state=EngineState.RUNNING))
    form = BY_ID["copy_cli"].cli
    assert form is not None
    assert form(frame, EngineSpec()).startswith("embedconsole run --connect 127.0.0.1:50051 --batch 32")


EXCUSED = {"quickstart": "what `make console` runs: the console itself, or a run where there is no terminal"}


def test_every_command_of_the_command_line_is_an_action_or_excused() -> None:
    forms = {action.cli(scenes.busy(), EngineSpec()).split()[1] for action in ACTIONS if action.cli}
    assert set(cli.commands) - set(EXCUSED) <= forms
    assert set(EXCUSED) <= set(cli.commands)


def test_commands_for_another_terminal_use_the_engine_that_serves_here() -> None:
    frame, spec = scenes.idle(), EngineSpec()
    forms = {name: form(frame, spec) for name in ("max_load", "profile") if (form := BY_ID[name].cli)}
    assert forms["max_load"] == "embedconsole max-load --slo-p95 50 --connect 127.0.0.1:50051 --batch 32"
    assert forms["profile"].startswith("embedconsole profile --connect 127.0.0.1:50051 --batch 32 --concurrency 4 -o ")
    assert "L stops the load" in str(DEFAULT.reason(BY_ID["max_load"], scenes.busy()))


@pytest.mark.parametrize("frame", [scenes.stopped(), scenes.idle(), scenes.busy()])
def test_every_command_form_is_one_that_the_command_line_takes(frame: Frame) -> None:
    for action in ACTIONS:
        words = shlex.split(action.cli(frame, EngineSpec())) if action.cli else []
        if words[:1] == ["embedconsole"] and len(words) > 1 and words[1] in cli.commands:
            command = cli.commands[words[1]]
            if isinstance(command, click.Group):
                continue
            command.make_context(words[1], words[2:])
