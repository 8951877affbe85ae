"""A report for programs: the model as JSON, its rows as CSV. Names carry units."""

import csv
import io
import json
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from console.report.model import ReportModel
from console.report.rows import STAGES, ReportRow

SCHEMA_VERSION = 1
_JSON_NAMES = {"rows": "cells", "row": "cell", "invalid": "unsound"}
"""Attributes whose JSON field has another name: fields keep their names within a schema version."""


def as_json(model: ReportModel) -> str:
    """Returns the whole model. Each row is written once, under `cells`; elsewhere it is its index there."""
    indexes = {id(row): index for index, row in enumerate(model.rows)}

    def value(part: Any) -> Any:
        if isinstance(part, ReportRow):
            return indexes[id(part)]
        if is_dataclass(part) and not isinstance(part, type):
            names = [field.name for field in fields(part)]
            return {_JSON_NAMES.get(name, name): value(getattr(part, name)) for name in names}
        if isinstance(part, (tuple, list)):
            return [value(one) for one in part]
        return part

    whole = value(model)
    whole["cells"] = [_row_object(row) for row in model.rows]
    return json.dumps({"schema_version": SCHEMA_VERSION, **whole}, ensure_ascii=False, indent=1) + "\n"


def _row_object(row: ReportRow) -> dict[str, Any]:
    plain = asdict(row)
    del plain["speeds"]
    derived = {"fell_back": row.fell_back, "slo_missed": row.slo_missed, "speed_sound": row.is_rate_valid}
    return {**plain, **derived, "reproduce": row.command}


def as_csv(model: ReportModel) -> str:
    """Returns one line per row; a figure that cannot be stated is empty."""
    lines = [_line(row) for row in model.rows]
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def _line(row: ReportRow) -> dict[str, Any]:
    asked, ran, load = row.requested, row.effective, row.load
    names = ("backend", "precision", "recipe", "device", "instances", "threads")
    return {
        **{f"requested_{name}": getattr(asked, name) for name in names},
        **{f"effective_{name}": getattr(ran, name) for name in names},
        **{name: getattr(load, name) for name in ("batch", "concurrency", "rate", "arrival", "workload", "corpus")},
        "concurrency": load.concurrency or None,
        "stream": int(load.stream),
        "coalesce": int(load.coalesce),
        "verdict": row.verdict,
        "reason": row.reason,
        "texts_per_s": row.texts_per_s,
        "texts_per_s_low": row.low,
        "texts_per_s_high": row.high,
        "latency_n": row.latency.n,
        **{f"{name}_ms": getattr(row.latency, f"{name}_ms") for name in ("mean", "p50", "p90", "p95", "p99", "max")},
        "cosine_mean": row.fidelity,
        "overlap_at_10": row.overlap_at_10,
        "grade": row.grade,
        "rss_bytes": row.rss_bytes,
        "errors": row.errors,
        **{f"{stage}_ms": row.stages_ms.get(stage) for stage in STAGES},
        "padding_ratio": row.padding_ratio,
        "mean_batch_items": row.mean_batch_items,
        "engine_cpu_cores": row.engine_cpu,
        "client_cpu_cores": row.client_cpu,
        "runs": " ".join(row.runs),
        "rss_shared_process": int(row.rss_shared_process),
    }
