"""Differences between runs are computed in one place, so that every front end shows the same."""

import csv
import io
from dataclasses import replace
from typing import Any

import pytest

from console.analysis.differences import differing, flatten
from console.compare.side_by_side import SideBySide, side_by_side
from console.compare.stored import Comparison, compare
from console.output.export import as_csv
from console.store.opened_run import OpenedRun
from console.store.selectors import Selection
from tests.console.fakes.recorded import recorded

BASE: dict[str, Any] = {
    "hash": "e1",
    "evidence": "9 of 9 kernels fp32",
    "host_name": "lab-1",
    "cores": 2,
    "cpu_flags": ["avx2"],
    "gpu": None,
    "governor": None,
    "libraries": {"onnxruntime": "1.24.0"},
    "model": {"id": "fake/MiniLM", "dim": 384},
    "git": {"revision": "f7a576b0c2d1aa", "dirty": False},
}


def measured_in(environment: dict[str, Any]) -> OpenedRun:
    """A run as recorded, but there."""
    rows, whole = recorded()
    opened = whole[rows[-1].run_id]
    return replace(opened, run=replace(opened.run, environment=environment))


def both(other: dict[str, Any]) -> tuple[Comparison, SideBySide]:
    """One pair of runs as the command and as the screen compare it."""
    opened = [measured_in(BASE), measured_in({**BASE, **other})]
    one, two = (each.run for each in opened)
    sides = (Selection("a", "run", (one.row,)), [one], Selection("b", "run", (two.row,)), [two])
    return compare(*sides), side_by_side(opened)


@pytest.mark.parametrize(
    ("other", "command", "screen"),
    [
        ({"hash": "e2", "evidence": "8 of 9 kernels fp32"}, [], []),
        ({"host_name": "lab-2"}, ["host_name"], ["host_name"]),
        ({"governor": "powersave"}, ["governor"], ["governor"]),
        ({"cpu_flags": ["avx2", "fma"]}, ["cpu_flags"], ["cpu_flags"]),
        ({"libraries": {"onnxruntime": "1.23.2"}}, ["libraries.onnxruntime"], ["onnxruntime"]),
        ({"libraries": {"onnxruntime": "1.24.0", "torch": "2.13"}}, ["libraries.torch"], ["torch"]),
        ({"model": {"id": "other", "dim": 384}}, ["model.id"], ["model id"]),
        ({"git": {"revision": "f7a576b0c2d1bb", "dirty": False}}, ["git.revision"], ["git revision"]),
    ],
)
def test_the_command_and_the_screen_name_the_same_differences(
    other: dict[str, Any], command: list[str], screen: list[str]
) -> None:
    compared, beside = both(other)
    assert [one.name for one in compared.environment] == command
    assert [row.name for row in beside.environment] == screen
    assert any("not the same environment" in warning for warning in beside.warnings) is bool(screen)


def test_an_unknown_value_equals_one_that_was_not_recorded() -> None:
    without = {name: value for name, value in BASE.items() if name not in ("gpu", "governor")}
    assert side_by_side([measured_in(BASE), measured_in(without)]).environment == ()
    assert differing([{"governor": None}, {}]) == {}


def test_differences_are_found_among_any_number_and_keep_their_order() -> None:
    assert differing([{"b": 1, "a": 1}, {"b": 1, "a": 1}, {"b": 2, "a": 1, "c": 3}]) == {
        "b": (1, 1, 2),
        "c": (None, None, 3),
    }


def test_nested_names_are_joined_in_the_same_way_everywhere() -> None:
    nested = {"a": {"b": {"c": 1}}, "d": [1, 2], "e": {}}
    assert flatten(nested) == {"a.b.c": 1, "d": [1, 2]}
    assert list(csv.DictReader(io.StringIO(as_csv([nested])))) == [{"a.b.c": "1", "d": "1 2"}]
