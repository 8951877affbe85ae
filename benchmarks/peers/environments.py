"""The virtual environments of the peers, built from pinned requirements and reused until these change."""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = Path(os.environ.get("BENCH_HOME") or ROOT / ".bench")
"""Ignored by git; BENCH_HOME overrides it."""
REQUIREMENTS = Path(__file__).parent / "requirements"
_STAMP = ".built-from"


def python_of(name: str) -> Path:
    """Returns the interpreter of an environment."""
    return HOME / name / "bin" / "python"


def build(names: Iterable[str], print_progress: Callable[[str], None]) -> None:
    """Builds environments that are missing or have other requirements. Raises RuntimeError with the output of pip."""
    for name in names:
        requirements = REQUIREMENTS / f"{name}.txt"
        wanted = _fingerprint(requirements)
        stamp = HOME / name / _STAMP
        if stamp.exists() and stamp.read_text() == wanted:
            continue
        started_s = time.monotonic()
        print_progress(f"building the environment {name!r} in {HOME / name}: a minute or two, once")
        shutil.rmtree(HOME / name, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(HOME / name)])
        pip = [str(python_of(name)), "-m", "pip", "--disable-pip-version-check", "--no-input"]
        if "torch==" in requirements.read_text():
            print_progress(f"  {name}: torch (the CPU build)")
            environment = {**os.environ, "PIP": " ".join(pip), "PY": str(python_of(name))}
            _run(["sh", str(ROOT / "setup-torch.sh")], environment)
        print_progress(f"  {name}: {_packages(requirements)}")
        _run([*pip, "install", "--quiet", "--requirement", str(requirements)])
        stamp.write_text(wanted)
        print_progress(f"  {name}: built in {time.monotonic() - started_s:.0f} s")


def versions(name: str) -> list[str]:
    """Returns the installed packages, as `name==version`."""
    command = [str(python_of(name)), "-m", "pip", "--disable-pip-version-check", "freeze"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]


def _packages(requirements: Path) -> str:
    lines = [line.partition("#")[0].strip() for line in requirements.read_text("utf-8").splitlines()]
    return ", ".join(line for line in lines if line and not line.startswith("torch="))


def _fingerprint(requirements: Path) -> str:
    return hashlib.sha256(f"{sys.version}\n{requirements.read_text('utf-8')}".encode()).hexdigest()


def _run(command: list[str], environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {(done.stderr or done.stdout)[-1500:]}")
