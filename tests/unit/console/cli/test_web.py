"""`embedconsole --web`: this machine only unless told otherwise, own pages only, and clear about what is missing."""

import socket
import sys
from typing import Any

import pytest

from console.cli import web
from console.cli.main import cli, main
from console.cli.web_options import command_of


class Served:
    """Instead of textual-serve's server: keeps what it was made with."""

    made: tuple[Any, ...] = ()

    def __init__(self, *arguments: Any) -> None:
        type(self).made = arguments

    def serve(self) -> None:
        """Nothing to wait for."""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> type[Served]:
    monkeypatch.setattr(web, "_server_class", lambda: Served)
    return Served


def test_without_the_extra_the_command_that_installs_it_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "textual_serve.server", None)
    with pytest.raises(SystemExit) as ended:
        main(["--web"])
    assert ended.value.code == 3
    assert "pip install 'embedconsole[web]'" in capsys.readouterr().err


def test_on_loopback_nothing_is_warned_of_and_each_name_of_it_is_its_own_page(
    served: type[Served], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--web", "--web-port", "8123"])
    assert ended.value.code == 0
    assert capsys.readouterr().err == ""
    _, host, port, url, origins = served.made
    assert (host, port, url) == ("127.0.0.1", 8123, "http://127.0.0.1:8123")
    assert origins == {f"http://{name}:8123" for name in ("127.0.0.1", "localhost", "[::1]")}


@pytest.mark.parametrize("host", [*web.ALL_INTERFACES, "192.168.1.7", "lab-2"])
def test_an_address_that_others_reach_is_warned_of_and_only_its_own_page_is_let_in(
    served: type[Served], capsys: pytest.CaptureFixture[str], host: str
) -> None:
    with pytest.raises(SystemExit):
        main(["--web", "--web-host", host, "--web-url", "https://bench.example/"])
    assert "anyone who opens the page can start processes" in capsys.readouterr().err
    assert served.made[-1] == {"https://bench.example"}


def test_an_address_for_everywhere_is_told_by_the_machine_s_name() -> None:
    assert {web.public_url(host, 8000) for host in web.ALL_INTERFACES} == {f"http://{socket.gethostname()}:8000"}
    assert web.public_url("::1", 8000) == "http://[::1]:8000"
    assert web.public_url("lab-2", 8000, "https://bench.example/") == "https://bench.example"


def test_every_window_runs_this_command_with_all_that_it_was_given() -> None:
    asked = [
        "--start",
        "--fresh",
        "--keymap",
        "my keys.toml",
        "--backend",
        "onnx",
        "--model",
        "/data/my model",
        "--strict",
    ]
    words = command_of(cli.make_context("embedconsole", ["--web", "--web-port", "9000", *asked]))
    assert words.endswith(
        "-m console.cli --start --fresh --keymap 'my keys.toml' --model '/data/my model' --backend onnx --strict"
    )


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--connect", "127.0.0.1:50051", "--backend", "onnx"), "give one of them"),
        (("--keymap", "gone.toml"), "`embedconsole keys > gone.toml` writes one"),
    ],
)
def test_what_a_window_would_refuse_is_refused_before_anything_is_served(
    served: type[Served], capsys: pytest.CaptureFixture[str], flags: tuple[str, ...], words: str
) -> None:
    served.made = ()
    with pytest.raises(SystemExit) as ended:
        main(["--web", *flags])
    assert ended.value.code == 3
    assert served.made == ()
    assert words in capsys.readouterr().err


def test_a_port_that_is_taken_names_the_flag_to_change(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Taken(Served):
        def serve(self) -> None:
            raise OSError(98, "Address already in use")

    monkeypatch.setattr(web, "_server_class", lambda: Taken)
    with pytest.raises(SystemExit) as ended:
        main(["--web"])
    assert ended.value.code == 3
    assert "choose another --web-port" in capsys.readouterr().err
