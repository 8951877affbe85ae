"""Faults to inject are read from a file, again when it changes, and refused unless they are allowed."""

import os
from pathlib import Path

import pytest

from engine.host.faults import ENVIRONMENT_NAME, FaultFile, FaultKind, InvalidFaults

HANG_TWICE = '[[fault]]\nkind = "hang"\ntimes = 2\n'


def written(path: Path, text: str) -> Path:
    """Writes the file so that its version differs from the one before, however quickly it follows."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    path.write_text(text, "utf-8")
    os.utime(path, ns=(before + 1_000_000, before + 1_000_000))
    return path


def next_of(faults: FaultFile, texts: int = 1, padded_tokens: int = 10, *, inline: bool = False) -> FaultKind | None:
    return faults.next(inline=inline, texts=texts, padded_tokens=padded_tokens)


def test_a_fault_is_injected_as_often_as_the_file_says(tmp_path: Path) -> None:
    faults = FaultFile(written(tmp_path / "faults.toml", HANG_TWICE))
    assert [next_of(faults) for _ in range(3)] == [FaultKind.HANG, FaultKind.HANG, None]


def test_a_fault_is_limited_to_a_place_and_to_a_size(tmp_path: Path) -> None:
    text = '[[fault]]\nkind = "raise"\nwhere = "inline"\n[[fault]]\nkind = "nan"\nmin_texts = 2\nmin_tokens = 20\n'
    faults = FaultFile(written(tmp_path / "faults.toml", text))
    assert next_of(faults, inline=True) is FaultKind.RAISE
    assert next_of(faults, 1, 20) is None
    assert next_of(faults, 2, 19) is None
    assert next_of(faults, 2, 20) is FaultKind.NAN


def test_a_file_that_changes_is_read_again_and_a_broken_one_is_ignored(tmp_path: Path) -> None:
    path = written(tmp_path / "faults.toml", "")
    faults = FaultFile(path)
    assert next_of(faults) is None
    written(path, HANG_TWICE)
    assert next_of(faults) is FaultKind.HANG
    written(path, "[[fault]")
    assert next_of(faults) is FaultKind.HANG
    written(path, '[[fault]]\nkind = "raise"\n')
    assert next_of(faults) is FaultKind.RAISE
    written(path, "")
    assert next_of(faults) is None


def test_faults_are_refused_unless_they_are_allowed(tmp_path: Path) -> None:
    environment = {ENVIRONMENT_NAME: str(written(tmp_path / "faults.toml", ""))}
    with pytest.raises(InvalidFaults, match="--allow-faults"):
        FaultFile.from_environment(environment, allowed=False)
    assert FaultFile.from_environment(environment, allowed=True) is not None
    assert FaultFile.from_environment({}, allowed=True) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[[fault]]\nkind = "fire"\n', "kind of a fault"),
        ('[[fault]]\nwhere = "any"\n', "kind of a fault"),
        ('[[fault]]\nkind = "hang"\nwhere = "kitchen"\n', "kitchen"),
        ('[[fault]]\nkind = "hang"\noften = 2\n', "often"),
        ('[[fault]]\nkind = "hang"\ntimes = -1\n', "whole numbers"),
        ('[fault]\nkind = "hang"\n', r"\[\[fault\]\]"),
        ('kind = "hang"\n', r"\[\[fault\]\]"),
        ("[[fault]", "cannot read"),
    ],
)
def test_a_file_that_is_wrong_says_what_is(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(InvalidFaults, match=expected):
        FaultFile(written(tmp_path / "faults.toml", text))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidFaults, match="cannot read"):
        FaultFile(tmp_path / "none.toml")
