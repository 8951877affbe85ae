"""The command that measured stored runs. Reads the store."""

import json
import re
import shlex

from console.measure.spec import spec_of
from console.report.rows import deployment_flags, load_of
from console.store.database import Store
from console.store.read import StoredRun, load_run, load_sweep_text
from console.store.selectors import Selection
from console.sweep.spec import PRESETS, preset

_COMPARE_LIVE = re.compile(r"# embedconsole compare --live, (\d+) rounds")
_SIDE = re.compile(r"^# [A-Z]: (.+)$", re.MULTILINE)
_MAX_LOAD = "max-load"


def measuring_command(store: Store, selection: Selection) -> str:
    """Returns the command that measured a run or a sweep; empty for a tag. Raises StoreError.

    The store has the text of a sweep's specification but not the name of its file, which is taken from the sweep's.
    """
    if selection.kind == "tag" or not selection.rows:
        return ""
    first = load_run(store, selection.rows[0].run_id)
    if selection.kind == "run":
        return shlex.join(_run_words(first))
    name, text = load_sweep_text(store, selection.name)
    if name in PRESETS and text == preset(name).text:
        return f"embedconsole sweep --preset {name}"
    if name == _MAX_LOAD:
        return shlex.join(_max_load_words(first, text))
    if (live := _COMPARE_LIVE.match(text)) is not None:
        return shlex.join([
            "embedconsole", "compare", "--live", *_SIDE.findall(text), *load_of(first).flags, "--rounds", live[1],
        ])  # fmt: skip
    return shlex.join(["embedconsole", "sweep", f"{name}.toml"])


def _run_words(run: StoredRun) -> list[str]:
    spec = spec_of(run)
    return [
        "embedconsole", "run", *deployment_flags(run.row.requested), *load_of(run).flags,
        *([] if run.row.coalesce else ["--coalesce", "off"]),
        "--duration", "auto" if spec.at_most_s is not None else f"{spec.duration_s:g}s",
        *([] if spec.slo_p95_ms is None else ["--slo-p95", f"{spec.slo_p95_ms:g}"]),
    ]  # fmt: skip


def _max_load_words(first: StoredRun, text: str) -> list[str]:
    """`text`: the specification of the search as JSON in a comment."""
    spec, load = json.loads(text.removeprefix("#")), load_of(first)
    level = ("--rate", "--concurrency")
    flags = [word for word, before in zip(load.flags, ("", *load.flags), strict=False) if not {word, before} & {*level}]
    return [
        "embedconsole", "max-load", "--slo-p95", f"{spec['slo_p95_ms']:g}", *(["--closed"] if spec["closed"] else []),
        *deployment_flags(first.row.requested), *flags, "--duration", f"{spec['trial_s']:g}s",
    ]  # fmt: skip
