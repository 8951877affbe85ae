"""A report for programs: the whole model as JSON, its cells as CSV. Units are in the names."""

import csv
import io
import json
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from console.report.cells import STAGES, Cell
from console.report.model import ReportModel

SCHEMA_VERSION = 1


def as_json(model: ReportModel) -> str:
    """Cells once, named by their place everywhere else."""
    places = {id(cell): place for place, cell in enumerate(model.cells)}

    def value(found: Any) -> Any:
        if isinstance(found, Cell):
            return places[id(found)]
        if is_dataclass(found) and not isinstance(found, type):
            return {field.name: value(getattr(found, field.name)) for field in fields(found)}
        if isinstance(found, (tuple, list)):
            return [value(one) for one in found]
        return found

    whole = value(model)
    whole["cells"] = [_cell(cell) for cell in model.cells]
    return json.dumps({"schema_version": SCHEMA_VERSION, **whole}, ensure_ascii=False, indent=1) + "\n"


def _cell(cell: Cell) -> dict[str, Any]:
    plain = asdict(cell)
    del plain["speeds"]
    derived = {"fell_back": cell.fell_back, "slo_missed": cell.slo_missed, "speed_sound": cell.is_rate_valid}
    return {**plain, **derived, "reproduce": cell.command}


def as_csv(model: ReportModel) -> str:
    """A line a cell; empty where a figure cannot be stated."""
    rows = [_row(cell) for cell in model.cells]
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _row(cell: Cell) -> dict[str, Any]:
    asked, ran, load = cell.requested, cell.effective, cell.load
    names = ("backend", "precision", "recipe", "device", "instances", "threads")
    return {
        **{f"requested_{name}": getattr(asked, name) for name in names},
        **{f"effective_{name}": getattr(ran, name) for name in names},
        **{name: getattr(load, name) for name in ("batch", "concurrency", "rate", "arrival", "workload", "corpus")},
        "concurrency": load.concurrency or None,
        "stream": int(load.stream),
        "coalesce": int(load.coalesce),
        "verdict": cell.verdict,
        "reason": cell.reason,
        "texts_per_s": cell.texts_per_s,
        "texts_per_s_low": cell.low,
        "texts_per_s_high": cell.high,
        "latency_n": cell.latency.n,
        **{f"{name}_ms": getattr(cell.latency, f"{name}_ms") for name in ("mean", "p50", "p90", "p95", "p99", "max")},
        "cosine_mean": cell.fidelity,
        "overlap_at_10": cell.overlap_at_10,
        "grade": cell.grade,
        "rss_bytes": cell.rss_bytes,
        "errors": cell.errors,
        **{f"{stage}_ms": cell.stages_ms.get(stage) for stage in STAGES},
        "padding_ratio": cell.padding_ratio,
        "mean_batch_items": cell.mean_batch_items,
        "engine_cpu_cores": cell.engine_cpu,
        "client_cpu_cores": cell.client_cpu,
        "runs": " ".join(cell.runs),
    }
