"""`embedconsole profile`: samples the engine's threads under a load with py-spy and writes the profile to a file."""

import asyncio
import math
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import psutil

from console.commands.progress import Progress
from console.measure.cleanup import running_load
from console.model.engine import EngineState
from console.model.errors import CommandRefused
from console.model.exit_codes import ExitCode
from console.model.load import LoadSpec
from console.session.port import SessionOptions
from console.session.session import Session

FORMATS = {".svg": "flamegraph", ".json": "speedscope", ".txt": "raw"}
"""py-spy's formats by file extension."""
_HOW_TO_OPEN = {
    ".svg": "open it in a browser: the width of a frame is its share of the samples, without idle threads",
    ".json": "open it at speedscope.app",
    ".txt": "one stack per line, followed by its number of samples",
}
SAMPLES_PER_S = 100
_DENIED = ("permission denied", "operation not permitted", "os error 1)", "os error 13")


class CannotProfile(Exception):
    """No profile can be recorded; the message names the reason and the next step."""


def find_py_spy() -> str:
    """Returns the path of py-spy, next to this Python or on PATH. Raises CannotProfile."""
    beside_python = Path(sys.executable).with_name("py-spy")
    program = str(beside_python) if beside_python.exists() else shutil.which("py-spy")
    if not program:
        raise CannotProfile("profile needs py-spy: pip install 'embedconsole[profile]'")
    return program


def py_spy_command(program: str, pid: int, duration_s: float, output: Path) -> list[str]:
    """Returns the command line of py-spy. Idle threads are skipped; `--nonblocking` never pauses the engine."""
    return [
        program, "record", "--pid", str(pid), "--duration", str(math.ceil(duration_s)), "--rate", str(SAMPLES_PER_S),
        "--threads", "--nonblocking", "--format", FORMATS[output.suffix.lower()], "--output", str(output),
    ]  # fmt: skip


async def record(program: str, pid: int, duration_s: float, output: Path) -> None:
    """Records a profile and writes the file. Raises CannotProfile."""
    if not psutil.pid_exists(pid):
        raise CannotProfile(f"the engine's process {pid} is not on this machine: run profile where the engine runs")
    process = await asyncio.create_subprocess_exec(
        *py_spy_command(program, pid, duration_s, output),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        stdout, _ = await process.communicate()
    except asyncio.CancelledError:
        process.terminate()
        raise
    if process.returncode == 0 and await asyncio.to_thread(output.exists):
        return
    output_text = stdout.decode("utf-8", "replace").strip()
    if any(words in output_text.lower() for words in _DENIED):
        raise CannotProfile(
            "py-spy may not read the engine's process: run as its owner with kernel.yama.ptrace_scope=0, as root,"
            " or in a container with --cap-add SYS_PTRACE"
        )
    last_line = output_text.splitlines()[-1] if output_text else f"exit code {process.returncode}"
    raise CannotProfile(f"py-spy failed: {last_line}")


def profile_once(options: SessionOptions, load: LoadSpec, warm_up_s: float, duration_s: float, output: Path) -> int:
    """Profiles a remote engine under its current load, or an own engine under `load`. Returns the exit code."""
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
        async with nullcontext() if engine.remote else running_load(session, load):
            if not engine.remote:
                say(f"{engine.effective.cell}: warming up")
                await asyncio.sleep(warm_up_s)
            say(f"{engine.effective.cell}: recording process {engine.pid}, about {duration_s:.0f} s left")
            await record(program, engine.pid, duration_s, output)
