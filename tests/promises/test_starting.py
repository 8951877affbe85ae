"""An engine starts, and goes on, wherever people and service managers start things."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

import engine as package
from console.cli.param_types import Address
from console.session.child_process import child_environment as console_child_environment
from console.session.control_client import ControlClient
from engine.api.client import EmbedClient
from engine.host.child import child_environment
from engine.server.process import CannotStart, check_host
from tests.promises.conftest import StartProcess
from tests.support.engine_process import EngineProcess
from tests.support.patience import HANGS_AFTER_S

ONE_THREAD = ("--backend", "onnx", "--precision", "fp32", "--instances", "1", "--threads", "1")

ROOT = Path(package.__file__).parent.parent


async def serves(engine: EngineProcess) -> bool:
    """Whether the engine still answers."""
    async with EmbedClient(engine.address) as client:
        return (await client.embed(["a text"])).shape == (1, 384)


@pytest.mark.parametrize(
    "started_by",
    ['exec "$@"', 'exec "$@" <&-', 'exec "$@" </dev/null', 'true | exec "$@"', 'exec "$@" <<END\nwords\nEND\n'],
    ids=["a pipe that ends", "closed", "/dev/null", "a pipe at its end", "a heredoc"],
)
async def test_the_end_of_a_stdin_that_is_no_lifeline_does_not_end_the_engine(
    start_process: StartProcess, started_by: str
) -> None:
    engine = start_process(*ONE_THREAD, started_by=started_by).wait_ready()
    engine.close_stdin()
    assert await serves(engine)
    assert engine.process.poll() is None


def test_a_lifeline_that_is_no_pipe_is_refused_with_what_to_do(start_process: StartProcess) -> None:
    engine = start_process(started_by='exec "$@" --lifeline stdin </dev/null')
    assert engine.wait() == 5
    (error,) = engine.events_named("error")
    assert "--lifeline" in error["message"]
    assert "leave --lifeline out" in error["fix"]


@pytest.mark.parametrize(
    ("started_by", "ignored"),
    [
        ("trap '' HUP; exec \"$@\"", signal.SIGHUP),
        ('exec nohup "$@"', signal.SIGHUP),
        ("trap '' INT; exec \"$@\"", signal.SIGINT),
    ],
    ids=["trap HUP", "nohup", "trap INT"],
)
async def test_a_signal_that_was_ignored_at_the_start_stays_ignored(
    start_process: StartProcess, started_by: str, ignored: signal.Signals
) -> None:
    engine = start_process(*ONE_THREAD, started_by=started_by).wait_ready()
    os.kill(engine.process.pid, ignored)
    assert await serves(engine)
    assert await serves(engine), "a signal is handled before the second request"


def test_a_signal_that_was_not_ignored_still_ends_it(start_process: StartProcess) -> None:
    engine = start_process(*ONE_THREAD, started_by='exec "$@"').wait_ready()
    engine.process.send_signal(signal.SIGHUP)
    assert engine.wait() == 0


@pytest.mark.parametrize("path", [None, "", ":"], ids=["no PYTHONPATH", "empty", "empty entries"])
def test_a_child_never_runs_code_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str | None
) -> None:
    for name in ("engine", "console", "grpc", "numpy", "json"):
        (tmp_path / f"{name}.py").write_text(f"import sys; sys.exit('code of the current folder: {name}')")
    monkeypatch.chdir(tmp_path)
    if path is None:
        monkeypatch.delenv("PYTHONPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONPATH", path)
    for environment in (child_environment(), console_child_environment()):
        for module in ("engine.artifacts.prepare_child", "console.load.driver"):
            done = subprocess.run(
                [sys.executable, "-c", f"import {module}, grpc, numpy, json; print({module}.__file__)"],
                capture_output=True, text=True, env=environment, timeout=HANGS_AFTER_S, check=False,
            )  # fmt: skip
            assert done.stdout.strip().startswith(str(ROOT)), done.stderr


async def test_a_proxy_in_the_environment_never_reaches_loopback(
    start_process: StartProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # refuses connections
        for name in ("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{nobody.getsockname()[1]}")
        engine = start_process(*ONE_THREAD).wait_ready()
        assert await serves(engine)
        control = ControlClient(engine.address)
        assert (await control.status()).pid == engine.process.pid
        await control.close()


@pytest.mark.parametrize(
    "environment",
    [{"HOME": ""}, {"HOME": "/nonexistent/home"}, {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "latin-1"}],
    ids=["HOME empty", "HOME missing", "latin-1"],
)
async def test_an_engine_starts_in_a_bare_environment(start_process: StartProcess, environment: dict[str, str]) -> None:
    engine = start_process(*ONE_THREAD, environment=environment).wait_ready()
    assert await serves(engine)


async def test_an_engine_starts_without_a_home(start_process: StartProcess) -> None:
    engine = start_process(*ONE_THREAD, started_by='unset HOME; exec "$@"').wait_ready()
    assert await serves(engine)


@pytest.mark.parametrize("closed", ["<&- >&-", "2>&-"], ids=["stdin and stdout", "stderr"])
async def test_an_engine_whose_outputs_are_closed_goes_on(start_process: StartProcess, closed: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    engine = start_process(*ONE_THREAD, "--port", str(port), started_by=f'exec "$@" {closed}')
    engine.ready = {"address": f"127.0.0.1:{port}"}
    async with EmbedClient(engine.address) as client:
        async with asyncio.timeout(HANGS_AFTER_S):
            await client._channel.channel_ready()
        assert (await client.embed(["a text"])).shape == (1, 384)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("http://127.0.0.1", "URL"),
        ("127.0.0.1:50051", "contains a port"),
        ("grpc://x/", "URL"),
        (" ", "blanks"),
    ],
)
def test_a_host_that_no_client_could_connect_to_is_refused_with_how_to_write_it(host: str, expected: str) -> None:
    with pytest.raises(CannotStart, match=expected) as caught:
        check_host(host)
    assert "::1" in caught.value.fix


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "[::1]", "localhost", "fe80::1%eth0", "::"])
def test_hosts_that_can_be_bound_are_not_refused(host: str) -> None:
    check_host(host)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("http://127.0.0.1:50051", "URL: write host:port, as in 127.0.0.1:50051"),
        ("::1:50051", "brackets"),
    ],
)
def test_an_address_that_can_never_connect_is_refused_with_how_to_write_it(address: str, expected: str) -> None:
    with pytest.raises(click.BadParameter, match=expected):
        Address().convert(address, None, None)


def test_an_ipv6_address_in_brackets_is_accepted() -> None:
    assert Address().convert("[::1]:50051", None, None) == "[::1]:50051"
