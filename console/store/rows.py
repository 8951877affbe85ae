"""Conversion between values of the session and rows of the store. Times of intervals start with the load."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from console.load.protocol import Interval, decode_event, encode_event
from console.model.engine import CapabilityCell
from console.session.live_metrics import EngineSample

Row = dict[str, Any]
STAGES = ("queue", "tokenize", "infer", "serialize")


def content_hash(value: object) -> str:
    """Returns 16 hex digits of the SHA-256 of the value's canonical JSON."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def deployment_columns(prefix: str, deployment: Mapping[str, Any]) -> Row:
    """Returns the columns `requested_backend`, … or `effective_backend`, … of a deployment."""
    names = ("backend", "precision", "recipe", "device", "instances", "threads")
    return {f"{prefix}_{name}": deployment.get(name) for name in names}


def environment_row(environment: Mapping[str, Any], now: str) -> Row:
    """Returns the row of the `environment` object of `run --json`."""
    model, git, gpu = (environment.get(name) or {} for name in ("model", "git", "gpu"))
    plain = ("hash", "host_name", "platform", "machine", "cpu_model", "cores", "governor", "memory_bytes", "python")
    return {
        **{name: environment.get(name) for name in plain},
        "first_seen": now,
        "cpu_flags": " ".join(environment.get("cpu_flags") or ()),
        "gpu_model": gpu.get("model"),
        "gpu_driver": gpu.get("driver"),
        "libraries": json.dumps(environment.get("libraries") or {}),
        "git_revision": git.get("revision"),
        "git_dirty": git.get("dirty"),
        "model": model.get("id"),
        "weights_sha256": model.get("weights_sha256"),
        "facts": json.dumps(environment),
    }


def capability_rows(cells: Sequence[CapabilityCell]) -> tuple[str, list[Row]]:
    """Returns the matrix's content hash and its rows, without measured speeds: those belong to the runs."""
    rows: list[Row] = [
        {
            "backend": cell.backend,
            "precision": cell.precision,
            "recipe": cell.recipe,
            "device": cell.device,
            "state": str(cell.state),
            "effective_backend": cell.effective.backend,
            "effective_precision": cell.effective.precision,
            "effective_device": cell.effective.device,
            "reason": cell.reason,
            "fix": cell.fix,
            "fidelity": cell.fidelity,
        }
        for cell in cells
    ]
    matrix = content_hash(rows)
    return matrix, [{"matrix": matrix, **row} for row in rows]


def interval_row(interval: Interval, sample: EngineSample | None, load_started_s: float, steady_s: float) -> Row:
    """Returns the row of an interval. The load started at `load_started_s`; the warm-up lasts `steady_s` seconds."""
    shifted = shift(interval, -load_started_s)
    facts = json.loads(encode_event(shifted))
    latency = facts["answers"].pop("latency")  # has a column of its own
    engine = None if sample is None else asdict(replace(sample, time_s=sample.time_s - load_started_s))
    return {
        "start_s": shifted.start_s,
        "duration_s": interval.duration_s,
        "steady": shifted.start_s >= steady_s,
        "requests": interval.answers.requests,
        "texts": interval.answers.texts,
        "errors": sum(interval.errors.values()),
        "retries": interval.retries,
        "cpu_cores": interval.cpu_cores,
        **{f"{stage}_ms": interval.stages_ms.get(stage) for stage in STAGES},
        "latency_hdr": latency,
        "facts": json.dumps(facts, separators=(",", ":")),
        "engine_facts": None if engine is None else json.dumps(engine, separators=(",", ":")),
    }


def interval_of(row: Mapping[str, Any]) -> Interval:
    """Returns the interval of a row of `interval_row`; its times start with the load."""
    facts = json.loads(row["facts"])
    facts["answers"]["latency"] = row["latency_hdr"]
    event = decode_event(json.dumps(facts).encode())
    assert isinstance(event, Interval)  # noqa: S101 - the column holds nothing else
    return event


def sample_of(row: Mapping[str, Any]) -> EngineSample | None:
    """Returns the engine's counters at an interval; None if there were none yet."""
    return EngineSample(**json.loads(row["engine_facts"])) if row["engine_facts"] else None


def shift(interval: Interval, by_s: float) -> Interval:
    """Returns the interval with all times shifted by `by_s` seconds."""

    def moved(time_s: float | None) -> float | None:
        return None if time_s is None else time_s + by_s

    return replace(
        interval,
        start_s=interval.start_s + by_s,
        first_completion_s=moved(interval.first_completion_s),
        last_completion_s=moved(interval.last_completion_s),
    )
