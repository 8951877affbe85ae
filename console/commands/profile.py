"""`embedconsole profile`: where the engine's threads spend their time under a load, sampled by py-spy into a file."""

import asyncio
import math
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import psutil

from console.commands.progress import Progress
from console.measure.cleanup import loaded
from console.model.engine import EngineState
from console.model.errors import CommandRefused
from console.model.exit_codes import ExitCode
from console.model.load import LoadSpec
from console.session.port import SessionOptions
from console.session.session import Session

FORMATS = {".svg": "flamegraph", ".json": "speedscope", ".txt": "raw"}
"""By the file's ending."""
_HOW_TO_OPEN = {
    ".svg": "open it in a browser: a frame's width is its share of the samples, idle threads left out",
    ".json": "open it at speedscope.app",
    ".txt": "one stack a line, with its samples behind it",
}
SAMPLES_PER_S = 100
_DENIED = ("permission denied", "operation not permitted", "os error 1)", "os error 13")


class CannotProfile(Exception):
    """Nothing can be recorded; the message says why and what to do."""


def find_py_spy() -> str:
    """Beside this Python or on the path. Raises CannotProfile."""
    beside = Path(sys.executable).with_name("py-spy")
    found = str(beside) if beside.exists() else shutil.which("py-spy")
    if not found:
        raise CannotProfile("profile needs py-spy: pip install 'embedconsole[profile]'")
    return found


def py_spy_command(program: str, pid: int, duration_s: float, output: Path) -> list[str]:
    """Idle threads are left out; `--nonblocking` does not stop the engine for a sample."""
    return [
        program, "record", "--pid", str(pid), "--duration", str(math.ceil(duration_s)), "--rate", str(SAMPLES_PER_S),
        "--threads", "--nonblocking", "--format", FORMATS[output.suffix.lower()], "--output", str(output),
    ]  # fmt: skip


async def record(program: str, pid: int, duration_s: float, output: Path) -> None:
    """Writes the file. Raises CannotProfile."""
    if not psutil.pid_exists(pid):
        raise CannotProfile(f"the engine's process {pid} is not on this machine: run profile where the engine runs")
    process = await asyncio.create_subprocess_exec(
        *py_spy_command(program, pid, duration_s, output),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        told, _ = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        raise
    if process.returncode == 0 and await asyncio.to_thread(output.exists):
        return
    said = told.decode("utf-8", "replace").strip()
    if any(words in said.lower() for words in _DENIED):
        raise CannotProfile(
            "py-spy may not look into the engine's process: run as its owner with kernel.yama.ptrace_scope=0, as root,"
            " or in a container with --cap-add SYS_PTRACE"
        )
    last = said.splitlines()[-1] if said else f"exit code {process.returncode}"
    raise CannotProfile(f"py-spy failed: {last}")


def profile_once(options: SessionOptions, load: LoadSpec, warm_up_s: float, duration_s: float, output: Path) -> int:
    """An engine that runs already is recorded under the load that it has; an own one under `load`. The exit code."""
    progress = Progress(sys.stderr)
    try:
        asyncio.run(_profile(options, load, warm_up_s, duration_s, output, progress.say))
    except CannotProfile as refusal:
        progress.clear()
        sys.stderr.write(f"embedconsole: {refusal}\n")
        return ExitCode.ENGINE_FAILED
    except CommandRefused as refusal:
        progress.clear()
        sys.stderr.write(f"embedconsole: {refusal}\n")
        return ExitCode.USAGE
    progress.clear()
    print(output, flush=True)
    sys.stderr.write(f"{_HOW_TO_OPEN[output.suffix.lower()]}\n")
    return ExitCode.OK


async def _profile(
    options: SessionOptions,
    load: LoadSpec,
    warm_up_s: float,
    duration_s: float,
    output: Path,
    say: Callable[[str], None],
) -> None:
    program = find_py_spy()
    async with Session(options) as session:
        say("waiting for the engine")
        await session.wait_until_ready()
        engine = session.frame.engine
        if engine.state is not EngineState.RUNNING:
            raise CannotProfile(engine.message or "the engine does not serve")
        async with nullcontext() if engine.remote else loaded(session, load):
            if not engine.remote:
                say(f"{engine.effective.cell}: warming up")
                await asyncio.sleep(warm_up_s)
            say(f"{engine.effective.cell}: recording process {engine.pid}, about {duration_s:.0f} s left")
            await record(program, engine.pid, duration_s, output)
