"""What commit 31acd2e left behind (tests/data/31acd2e), and how it is compared with what the code of today gives."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).resolve().parents[2] / "data" / "31acd2e"
_KINDS = {bool: "truth", int: "number", float: "number", str: "text", dict: "object", list: "list", type(None): "null"}


def recorded(name: str) -> Any:
    """The content of a JSON file."""
    return json.loads((RECORDED / name).read_text("utf-8"))


def differences(before: Any, now: Any, path: str = "$") -> list[str]:
    """Where `now` lacks or changes what `before` holds. Fields that are new in an object do not count."""
    if isinstance(before, dict) and isinstance(now, dict):
        gone = [f"{path}.{key} is gone" for key in before.keys() - now.keys()]
        both = before.keys() & now.keys()
        return gone + [one for key in both for one in differences(before[key], now[key], f"{path}.{key}")]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        return [one for place, (old, new) in pairs for one in differences(old, new, f"{path}[{place}]")]
    return [] if before == now else [f"{path} was {before!r} and is {now!r}"]


def without_wording(value: Any) -> Any:
    """The same without its sentences (texts with a space in them), which may be written better at any time."""
    if isinstance(value, dict):
        return {key: without_wording(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_wording(inner) for inner in value]
    return "…" if isinstance(value, str) and " " in value else value


def changed_fields(before: Any, now: Any, maps: tuple[str, ...] = ()) -> list[str]:
    """Where `now` lacks a field of `before`, or holds another kind of value there. Values and new fields do not count.

    Objects under a name in `maps` have data as keys, which are not compared. Null agrees with every kind, and what
    lies under null or an empty list is not known.
    """
    old, new = _kinds(before, maps), _kinds(now, maps)
    found = []
    for path, kinds in old.items():
        if path in new:
            if not new[path] <= kinds | {"null"} and kinds != {"null"}:
                found.append(f"{path} was {sorted(kinds)} and is {sorted(new[path])}")
        elif not _is_below_nothing(path, new):
            found.append(f"{path} is gone")
    return found


def _kinds(value: Any, maps: tuple[str, ...]) -> dict[str, set[str]]:
    """The kinds of value at each path, with all elements of a list under one path."""
    found: dict[str, set[str]] = defaultdict(set)
    for path, kind in _walk(value, "$", maps):
        found[path].add(kind)
    return found


def _walk(value: Any, path: str, maps: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    yield path, _KINDS[type(value)]
    if isinstance(value, dict):
        is_map = path.rpartition(".")[2] in maps
        for key, inner in value.items():
            yield from _walk(inner, f"{path}.*" if is_map else f"{path}.{key}", maps)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner, f"{path}[]", maps)


def _is_below_nothing(path: str, kinds: dict[str, set[str]]) -> bool:
    """Whether the nearest parent that is there holds null, an empty list or an empty map alone."""
    parent = path
    while parent not in kinds:
        shorter = max(parent.rfind("."), parent.rfind("[]"))
        parent, last = parent[:shorter], parent[shorter:]
    return kinds[parent] == {"null"} or (
        last in ("[]", ".*") and not any(one.startswith(f"{parent}{last}") for one in kinds)
    )
