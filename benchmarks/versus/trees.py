"""The sources of a revision and their virtual environment, kept in .bench/versus/ and reused."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers.environments import HOME, ROOT

PLACE = HOME / "versus"
WORKING_TREE = "."
_STAMP = ".built-from"
_SHORT = 10
"""Digits of the commit in the name of a folder."""
GIT_WITHIN_S = 120.0
SET_UP_WITHIN_S = 1800.0
"""Timeout of each set-up step; torch may be a long download."""


class UnknownRevision(ValueError):
    """Git has no commit with that name."""


class SetUpFailed(Exception):
    """A set-up command failed or took too long. The message has its last output."""


@dataclass(frozen=True, slots=True)
class Tree:
    """The sources of a side."""

    asked: str
    """The revision as given on the command line."""
    commit: str
    """The commit; for the working tree the one it is based on."""
    place: Path
    """Folder of the environment and the caches, and of the sources unless they are the working tree."""
    source: Path
    changed: bool = False
    """Whether it is a working tree with uncommitted changes or untracked files."""

    @property
    def name(self) -> str:
        """Its name in tables and progress."""
        if self.asked == WORKING_TREE:
            return f"working tree ({self.commit[:_SHORT]}{' with changes' if self.changed else ''})"
        short = self.commit[:_SHORT]
        return short if self.commit.startswith(self.asked) else f"{self.asked} ({short})"

    @property
    def environment(self) -> Path:
        """The virtual environment of this side."""
        return self.place / ".venv"

    @property
    def engine(self) -> Path:
        """The `engine` program of this revision."""
        return self.environment / "bin" / "engine"


def folder_of(asked: str, commit: str, home: Path = PLACE) -> Path:
    """Returns the folder of a revision. The working tree has the same folder for every commit."""
    return home / ("working-tree" if asked == WORKING_TREE else commit[:_SHORT])


def tree_of(asked: str) -> Tree:
    """Resolves a revision without writing anything. Raises UnknownRevision."""
    revision = "HEAD" if asked == WORKING_TREE else asked
    try:
        commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    except SetUpFailed as error:
        raise UnknownRevision(f"git has no commit {asked!r} here: name a commit, a branch or a tag, or .") from error
    place = folder_of(asked, commit)
    if asked == WORKING_TREE:
        return Tree(asked, commit, place, ROOT, bool(_git("status", "--porcelain")))
    return Tree(asked, commit, place, place / "source")


def check_out(tree: Tree, print_progress: Callable[[str], None]) -> None:
    """Creates the git worktree of a revision, again if its files differ from the commit. Raises SetUpFailed."""
    if tree.asked == WORKING_TREE or _is_as_committed(tree):
        return
    print_progress(f"checking out {tree.name} in {tree.source}")
    shutil.rmtree(tree.source, ignore_errors=True)
    tree.place.mkdir(parents=True, exist_ok=True)
    # Forced, because git still lists a folder that was deleted manually.
    _git("worktree", "add", "--force", "--detach", str(tree.source), tree.commit)


def _is_as_committed(tree: Tree) -> bool:
    if not (tree.source / ".git").exists():
        return False
    here = ("-C", str(tree.source))
    try:
        return _git(*here, "rev-parse", "HEAD") == tree.commit and not _git(*here, "status", "--porcelain")
    except SetUpFailed:  # the repository does not list it
        return False


def build(tree: Tree, like: Tree | None, print_progress: Callable[[str], None]) -> None:
    """Sets up the environment from the revision's files; reuses one that was built from the same files.

    If `like` requires the same packages, the same versions are installed, so that only the engines differ. Raises
    SetUpFailed.
    """
    pins = packages(like) if like and like.source != tree.source and requirements(like) == requirements(tree) else []
    wanted, stamp = _fingerprint(tree), tree.environment / _STAMP
    if stamp.exists() and stamp.read_text("utf-8") == wanted and (not pins or packages(tree) == pins):
        return
    print_progress(f"setting up the environment of {tree.name} in {tree.environment}: some minutes, once")
    started_s = time.monotonic()
    shutil.rmtree(tree.environment, ignore_errors=True)
    run([sys.executable, "-m", "venv", str(tree.environment)], SET_UP_WITHIN_S)
    python = str(tree.environment / "bin" / "python")
    pip = [python, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    extra = {"PIP": " ".join(pip), "PY": python}
    if pins:
        constraints = tree.place / "constraints.txt"
        constraints.write_text("\n".join(pins) + "\n", "utf-8")
        extra["PIP_CONSTRAINT"] = str(constraints)
    torch = tree.source / "setup-torch.sh"
    if torch.exists():
        run(["sh", str(torch)], SET_UP_WITHIN_S, extra, tree.source)
    run([*pip, "install", "--quiet", "--editable", f"{tree.source}[all]"], SET_UP_WITHIN_S, extra, tree.source)
    stamp.write_text(wanted, "utf-8")
    print_progress(f"  set up in {time.monotonic() - started_s:.0f} s")


def packages(tree: Tree) -> list[str]:
    """Returns the installed packages except the project, as sorted pip requirements. Raises SetUpFailed."""
    python = str(tree.environment / "bin" / "python")
    command = [python, "-m", "pip", "--disable-pip-version-check", "freeze", "--exclude-editable"]
    return sorted(line for line in run(command, GIT_WITHIN_S).splitlines() if line)


def requirements(tree: Tree) -> str:
    """Returns everything that determines which packages are installed, as comparable text."""
    project = tomllib.loads((tree.source / "pyproject.toml").read_text("utf-8"))["project"]
    torch = tree.source / "setup-torch.sh"
    parts = (project.get("dependencies", []), sorted(project.get("optional-dependencies", {}).items()))
    return f"{parts}\n{torch.read_text('utf-8') if torch.exists() else ''}"


def _fingerprint(tree: Tree) -> str:
    parts = (sys.version, str(tree.source), (tree.source / "pyproject.toml").read_text("utf-8"), requirements(tree))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _git(*arguments: str) -> str:
    return run(["git", *arguments], GIT_WITHIN_S, cwd=ROOT).strip()


def run(
    command: Sequence[str], within_s: float, extra: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """Runs a command and returns its stdout. Stops it and its descendants in any case. Raises SetUpFailed."""
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd,
        env={**os.environ, "PYTHONPATH": "", **(extra or {})}, start_new_session=True,
    )  # fmt: skip
    try:
        said, complained = child.communicate(timeout=within_s)
    except BaseException as error:
        os.killpg(child.pid, signal.SIGKILL)  # a session that includes the children of pip
        child.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise SetUpFailed(f"{' '.join(command)} took more than {within_s:.0f} s") from error
        raise
    if child.returncode:
        raise SetUpFailed(f"{' '.join(command)} failed: {(complained or said)[-1500:].strip()}")
    return said
