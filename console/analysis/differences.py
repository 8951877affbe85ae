"""What is not the same for all of several runs, and nested names as dotted ones. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

_OF_THE_WHOLE = {"hash", "evidence"}
"""Parts of an environment that say nothing of their own: the hash covers the others, evidence is the deployment's."""


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one with dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return found


def facts_of(environment: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's environment says of where it ran, with dotted names."""
    return flat({name: value for name, value in environment.items() if name not in _OF_THE_WHOLE})


def differing(runs: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Each name whose value is not the same in all of them, with every run's value, in the order of appearance.

    None stands for what is missing: a fact that was not known is no other than one that was not recorded.
    """
    names = dict.fromkeys(name for run in runs for name in run)
    values = {name: tuple(run.get(name) for run in runs) for name in names}
    return {name: found for name, found in values.items() if any(one != found[0] for one in found)}
