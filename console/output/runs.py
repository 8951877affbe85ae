"""Stored runs as JSON and as text: lists of runs and sweeps, and a single run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from console.analysis.validity import SATURATED_CORES
from console.measure.measurement import Measurement, recovered
from console.measure.result import as_json as report_of
from console.measure.segment_figures import segment_figures
from console.measure.spec import spec_of
from console.model.engine import Batching, Engine
from console.model.load import P95_FLOOR, P99_FLOOR
from console.model.recording import LIVE
from console.model.switch import SwitchDelta
from console.model.verdicts import verdict_word
from console.output.table import MARKS, figure, table
from console.store.labels import cell_name, load_name
from console.store.read import RunRow, StoredRun, SweepRow

_BOOLEANS = ("interrupted", "coalesce", "stream", "slo_missed", "throughput_stable", "p95_stable")

_HEAD = ("run", "when (UTC)", "cell", "load", "texts/s", "p95 ms", "fidelity", "verdict", "sweep", "tags")

_RIGHT = {"texts/s", "p95 ms", "fidelity"}


def as_objects(rows: Sequence[RunRow]) -> list[dict[str, Any]]:
    """Returns one object per run."""
    return [_object(row) for row in rows]


def _object(row: RunRow) -> dict[str, Any]:
    columns: dict[str, Any] = row._asdict()
    for side in ("requested", "effective"):
        for name in [name for name in columns if name.startswith(f"{side}_")]:
            del columns[name]
    for name in ("tag_names", "writer_host", "writer_pid", "heartbeat_at"):
        del columns[name]
    booleans = {name: None if columns[name] is None else bool(columns[name]) for name in _BOOLEANS}
    sides = {"requested": asdict(row.requested), "effective": asdict(row.effective)}
    return {**columns, **booleans, **sides, "tags": list(row.tags)}


def as_table(rows: Sequence[RunRow]) -> str:
    """Returns one line per run. A ~ follows a figure that was not steady."""
    if not rows:
        return "no run matches: make one with `embedconsole run`, or loosen the filters"
    return table(_HEAD, [_cells(row) for row in rows], _RIGHT)


def _cells(row: RunRow) -> tuple[str, ...]:
    return (
        row.run_id,
        row.started_at[:19].replace("T", " "),
        cell_name(row.requested, row.effective),
        load_name(row),
        figure(row.texts_per_s, ",.0f", row.throughput_stable),
        figure(row.p95_ms, ",.1f", row.p95_stable),
        figure(row.fidelity, ".4f", True),
        f"{MARKS.get(row.verdict, '?')} {verdict_word(row.verdict)}" + (", interrupted" if row.interrupted else ""),
        "live" if row.origin == LIVE else row.sweep_id.rsplit("-", 1)[-1],
        " ".join(row.tags),
    )


def sweeps_table(sweeps: Sequence[SweepRow]) -> str:
    """Returns one line per sweep, newest first, with the number of its measured runs and of its cells."""
    if not sweeps:
        return "no sweep yet: make one with `embedconsole sweep`"
    head = ("sweep", "name", "when (UTC)", "runs", "cells", "state")
    lines = [
        (one.sweep_id, one.name, one.started_at[:19].replace("T", " "), f"{one.runs:,}", f"{one.cells:,}" if one.cells
         else "–", "ended" if one.ended_at else "interrupted or running")
        for one in sweeps
    ]  # fmt: skip
    return table(head, lines, {"runs", "cells"})


def as_object(run: StoredRun) -> dict[str, Any]:
    """Returns everything that the store holds of a run except its histograms."""
    seconds = [
        {
            "start_s": round(interval.start_s, 3),
            "duration_s": round(interval.duration_s, 3),
            "requests": interval.answers.requests,
            "texts": interval.answers.texts,
            "errors": dict(interval.errors),
        }
        for interval in run.intervals
    ]
    return {
        **_object(run.row),
        "report": run.report,
        "recovered": report_of(recovered_measurement(run)) if run.report is None and run.intervals else None,
        "spec": run.spec,
        "environment": run.environment,
        "notes": [{"written_at": written_at, "text": text} for written_at, text in run.notes],
        "events": [dict(zip(("time", "source", "level", "text"), event, strict=True)) for event in run.events],
        "intervals": seconds,
        **_live(run),
        "capabilities": [asdict(cell) for cell in run.capabilities],
    }


def _live(run: StoredRun) -> dict[str, Any]:
    """Returns the segments with their figures, and what the switches changed; nothing unless recorded from Live."""
    if run.live is None:
        return {}
    segments = [
        {**asdict(one.segment), "main": one.is_main, "texts_per_s": one.texts_per_s, "latency_ms": asdict(one.latency)}
        for one in segment_figures(run)
    ]
    return {"segments": segments, "switches": [asdict(delta) for delta in run.live.switches.final]}


def _segments(run: StoredRun) -> list[str]:
    lines = []
    for one in segment_figures(run):
        segment, p95_ms = one.segment, one.latency.p95_ms
        coalescing = "" if segment.batching.coalesce else ", no coalescing"
        rate = figure(one.texts_per_s, ",.1f", True)
        used = "  (the figures above)" if one.is_main else ""
        lines.append(
            f"segment {segment.ordinal:<4}{segment.start_s:,.0f} to {segment.end_s or 0:,.0f} s:"
            f" {segment.effective.cell}{coalescing}, {rate} texts/s, p95 {figure(p95_ms, ',.2f', True)} ms{used}"
        )
    deltas = run.live.switches.final if run.live is not None else ()
    return lines + [
        f"switch S{delta.ordinal:<3}{delta.label}{_changes(delta)}: {delta.verdict or 'not settled'}"
        for delta in deltas
    ]


def _changes(delta: SwitchDelta) -> str:
    named = (("texts/s", delta.texts_per_s), ("p95 ms", delta.p95_ms))
    known = [f"{name} {one.before:,.1f} to {one.after:,.1f}" for name, one in named if one is not None]
    return f" ({', '.join(known)})" if known else ""


def as_text(run: StoredRun) -> str:
    """Returns a run as text for a terminal."""
    row, report = run.row, run.report
    live = row.effective
    interval = f"  (95 %: {row.texts_per_s_low:,.0f} to {row.texts_per_s_high:,.0f})" if row.texts_per_s_low else ""
    p95, p99 = (
        f"{value:,.2f}" if value is not None else f"– (needs {floor} requests)"
        for value, floor in ((row.p95_ms, P95_FLOOR), (row.p99_ms, P99_FLOOR))
    )
    lines = [
        f"run         {row.run_id}  {row.started_at[:19].replace('T', ' ')} UTC",
        f"engine      {cell_name(row.requested, live)}, {live.instances} x {live.threads} threads, {live.device}",
        f"model       {row.model or '–'}",
        f"load        {load_name(row)}",
    ]
    if row.texts_per_s is not None:
        lines += [
            f"throughput  {figure(row.texts_per_s, ',.1f', row.throughput_stable)} texts/s{interval}",
            f"latency     p50 {figure(row.p50_ms, ',.2f', True)}, p95 {p95}, p99 {p99} ms, n={row.latency_n:,}",
            *_server(report or {}),
        ]
    elif report is None and run.intervals:
        partial = recovered_measurement(run)
        rate = figure(partial.rates.texts_per_s if partial.rates else None, ",.1f", partial.throughput_judgement.stable)
        lines.append(f"so far      {rate} texts/s in {partial.duration_s:.0f} s")
    lines += [f"fidelity    cosine {row.fidelity:.4f} to fp32"] if row.fidelity is not None else []
    why = client_bound_reason((report or {}).get("client") or {}) if row.verdict == "client_bound" else row.failure
    word = verdict_word(row.verdict)
    lines.append(f"verdict     {MARKS.get(row.verdict, '?')} {word}" + (f": {why}" if why else ""))
    for name, judged in ((report or {}).get("verdicts") or {}).items():
        if isinstance(judged, dict) and not judged.get("stable", judged.get("holds", True)):
            lines.append(f"            {name.replace('_', ' ')}: {judged.get('reason')}")
    lines += _segments(run)
    lines.append(f"recorded    {len(run.intervals)} intervals, {len(run.events)} events" + _source(row))
    lines += _environment(run)
    lines += [f"tags        {' '.join(row.tags)}"] if row.tags else []
    lines += [f"note        {written_at[:16].replace('T', ' ')} UTC  {text}" for written_at, text in run.notes]
    return "\n".join(lines)


def _server(report: Mapping[str, Any]) -> list[str]:
    """Returns stage times, bottleneck, memory and errors from the report that `run` stored."""
    server, limit, errors = report.get("server") or {}, report.get("bottleneck"), report.get("errors") or {}
    stages = {name: value for name, value in (server.get("stages_ms") or {}).items() if value is not None}
    lines = []
    if stages:
        means = ", ".join(f"{name} {value:.2f}" for name, value in stages.items())
        lines.append(f"stages      {means} ms (means of a request)")
    lines += [f"bottleneck  {limit['sentence']}"] if limit else []
    lines += [f"memory      RSS {server['rss_bytes'] / 2**20:,.0f} MiB"] if server.get("rss_bytes") else []
    lines += [f"errors      {', '.join(f'{count:,} x {code}' for code, count in errors.items())}"] if errors else []
    return lines


def client_bound_reason(client: Mapping[str, Any]) -> str:
    """Returns why the load generator was the bottleneck, from the `client` object of a stored report."""
    cpu, lag = client.get("cpu") or 0.0, client.get("send_lag_ms") or {}
    late = next(((name, lag[name]) for name in ("p99", "p95", "p50") if lag.get(name) is not None), None)
    if late is not None and cpu <= SATURATED_CORES:
        return f"the load generator sent requests late ({late[0]} {late[1]:,.1f} ms), which adds to the latencies"
    return f"the load generator used {cpu:.0%} of a core: it was the bottleneck"


def recovered_measurement(run: StoredRun) -> Measurement:
    """Returns the measurement of a run without an end, computed from its intervals."""
    row = run.row
    batching = Batching(max_batch_tokens=row.max_batch_tokens, max_wait_ms=row.max_wait_ms, coalesce=bool(row.coalesce))
    engine = Engine(requested=row.requested, effective=row.effective, batching=batching)
    measurement = recovered(spec_of(run), engine, run.intervals, run.samples)
    return replace(measurement, run_id=row.run_id, fidelity=row.fidelity)


def _source(row: RunRow) -> str:
    if row.origin == LIVE:
        return ", from Live"
    return f", of sweep {row.sweep_id}" if row.sweep_id else ""


def _environment(run: StoredRun) -> list[str]:
    facts = run.environment
    if not facts:
        return []
    git = facts.get("git") or {}
    revision = f", git {git['revision'][:12]}{' (changed)' if git.get('dirty') else ''}" if git else ""
    libraries = facts.get("libraries") or {}
    runtime = run.row.effective.backend
    package = {"onnx": "onnxruntime"}.get(runtime, runtime)
    version = f", {package} {libraries[package]}" if package in libraries else ""
    return [f"environment {facts.get('hash')}: {facts.get('cpu_model')}, {facts.get('cores')} cores{version}{revision}"]
