"""Differences between runs, and nested mappings with dotted names. Pure functions."""

from collections.abc import Mapping, Sequence
from typing import Any

_EXCLUDED = {"hash", "evidence"}
"""Parts of an environment that are not compared: the hash is derived from the others, evidence is the deployment's."""


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested mappings as one mapping with dotted names."""
    flattened: dict[str, Any] = {}
    for name, value in values.items():
        flattened |= flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flattened


def environment_facts(environment: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the comparable parts of a run's environment, with dotted names."""
    return flatten({name: value for name, value in environment.items() if name not in _EXCLUDED})


def differing(runs: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Returns the names whose values differ between the runs, with every run's value, in order of appearance.

    A missing value is None, and equals a value that was recorded as not known.
    """
    names = dict.fromkeys(name for run in runs for name in run)
    values = {name: tuple(run.get(name) for run in runs) for name in names}
    return {name: of_runs for name, of_runs in values.items() if any(one != of_runs[0] for one in of_runs)}
