"""Command lines that do without the console what the screen shows."""

import shlex
from dataclasses import replace

from console.model.engine import EngineSpec
from console.model.frame import Frame
from console.model.load import LoadSpec
from console.model.modes import is_sweep_file


def _flags(pairs: dict[str, object]) -> list[str]:
    words: list[str] = []
    for flag, value in pairs.items():
        if value:
            words += [flag, str(value)]
    return words


def _placement(frame: Frame, spec: EngineSpec) -> list[str]:
    """The options of the engine: --connect for a remote one, else the requested deployment."""
    if frame.engine.remote:
        return ["--connect", frame.engine.address]
    asked = frame.engine.requested
    requested = replace(
        spec,
        backend=asked.backend or spec.backend,
        precision=asked.precision or spec.precision,
        recipe=asked.recipe or spec.recipe,
        coalesce=frame.engine.batching.coalesce,
        max_batch_tokens=0,
        max_batch_items=0,
    )
    return engine_flags(requested)


def engine_flags(spec: EngineSpec) -> list[str]:
    """Returns the options of the engine that differ from the defaults."""
    return [
        *_flags({"--model": spec.model, "--backend": spec.backend, "--precision": spec.precision}),
        *_flags({"--recipe": spec.recipe, "--device": spec.device}),
        *_flags({"--instances": spec.instances, "--threads": spec.threads}),
        *(["--strict"] if spec.strict else []),
        *([] if spec.coalesce else ["--coalesce", "off"]),
        *_flags({"--max-batch-tokens": spec.max_batch_tokens, "--max-batch-items": spec.max_batch_items}),
    ]


def load_flags(load: LoadSpec) -> list[str]:
    """Returns the options of the load: batch and rate or concurrency always, others if they differ from the default."""
    return [
        *("--batch", str(load.batch)),
        *(_open_loop(load) if load.is_open else ["--concurrency", str(load.concurrency)]),
        *_flags({"--ramp": f"{load.ramp_s:g}s" if load.ramp_s else ""}),
        *_flags({"--workload": "" if load.workload == "texts" else load.workload}),
        *_flags({"--corpus": "" if load.corpus == "short" else load.corpus}),
        *(["--stream"] if load.stream else []),
    ]


def _open_loop(load: LoadSpec) -> list[str]:
    default = LoadSpec()
    return [
        *("--rate", f"{load.rate:g}"),
        *_flags({"--arrival": "" if load.arrival == default.arrival else load.arrival}),
        *_flags({"--max-in-flight": 0 if load.max_in_flight == default.max_in_flight else load.max_in_flight}),
    ]


def run_command(frame: Frame, spec: EngineSpec) -> str:
    """`embedconsole run …` for the requested deployment and the current load."""
    words = [
        "embedconsole",
        "run",
        *_placement(frame, spec),
        *load_flags(frame.load.spec),
        "--duration",
        "60s",
        "--json",
    ]
    return shlex.join(words)


def serve_command(frame: Frame, spec: EngineSpec) -> str:
    """`engine serve …` for the requested deployment."""
    placement = [] if frame.engine.remote else _placement(frame, spec)
    return shlex.join(["engine", "serve", *placement])


def connect_command(frame: Frame, _spec: EngineSpec) -> str:
    """`embedconsole --connect …` for the running engine, or `--start` without one."""
    address = frame.engine.address
    return shlex.join(["embedconsole", *(["--connect", address] if address else ["--start"])])


def capabilities_command(_frame: Frame, _spec: EngineSpec) -> str:
    """The capability matrix."""
    return "engine capabilities --json"


def runs_command(frame: Frame, _spec: EngineSpec) -> str:
    """`embedconsole runs show …` for the run under the cursor, else the list of runs."""
    here = frame.experiments.selected_run_id
    return shlex.join(["embedconsole", "runs", *(["show", here] if here else [])])


def replay_command(frame: Frame, _spec: EngineSpec) -> str:
    """The replay that is open, else that of the run under the cursor, else that of the last run."""
    shown = frame.replay
    run_id = shown.run_id if shown is not None else frame.experiments.selected_run_id
    speed = ["--speed", f"{shown.speed:g}"] if shown is not None and shown.speed != 1 else []
    return shlex.join(["embedconsole", "runs", "replay", run_id or "last", *speed])


def sweep_command(frame: Frame, _spec: EngineSpec) -> str:
    """The sweep that is shown, else the shortest preset."""
    source = frame.experiments.sweep_source or "quick"
    placement = ["--connect", frame.engine.address] if frame.engine.remote else []
    return shlex.join(
        ["embedconsole", "sweep", *([source] if is_sweep_file(source) else ["--preset", source]), *placement]
    )


def gate_command(frame: Frame, _spec: EngineSpec) -> str:
    """A gate on the run under the cursor, else on the last run, with GATE_CONDITIONS."""
    return shlex.join(["embedconsole", "gate", frame.experiments.selected_run_id or "last", *GATE_CONDITIONS])


GATE_CONDITIONS = ("p95<120ms", "texts_per_s>-5%@main")
"""Example conditions: an absolute limit, and a change from the baseline tagged main."""


def report_command(frame: Frame, _spec: EngineSpec) -> str:
    """A report on the marked runs, else on the last sweep."""
    return shlex.join(["embedconsole", "report", *frame.experiments.compared_run_ids, "-o", "results.html"])


def _from_another_terminal(frame: Frame, spec: EngineSpec) -> list[str]:
    """--connect to the console's engine if it serves, else the options of a new engine."""
    address = frame.engine.address
    return ["--connect", address] if address else _placement(frame, spec)


def max_load_command(frame: Frame, spec: EngineSpec) -> str:
    """`embedconsole max-load …` on the console's engine."""
    load = frame.load.spec
    shape = load_flags(replace(load, rate=0.0, ramp_s=0.0))
    pace = shape.index("--concurrency")
    words = [*_from_another_terminal(frame, spec), *shape[:pace], *shape[pace + 2 :]]
    return shlex.join(["embedconsole", "max-load", "--slo-p95", "50", *words])


def profile_command(frame: Frame, spec: EngineSpec) -> str:
    """A flame graph of the engine under its current load."""
    load = [] if frame.load.running and frame.engine.address else load_flags(frame.load.spec)
    return shlex.join(
        ["embedconsole", "profile", *_from_another_terminal(frame, spec), *load, "-o", "engine-profile.svg"]
    )


def calibrate_command(frame: Frame, _spec: EngineSpec) -> str:
    """The ceiling of the load generator at the current load."""
    return shlex.join(["embedconsole", "calibrate", *load_flags(frame.load.spec)])


def keys_command(_frame: Frame, _spec: EngineSpec) -> str:
    """The keymap, to edit."""
    return "embedconsole keys"


def compare_command(frame: Frame, _spec: EngineSpec) -> str:
    """`embedconsole compare …` for the marked runs."""
    return shlex.join(["embedconsole", "compare", *frame.experiments.compared_run_ids])
