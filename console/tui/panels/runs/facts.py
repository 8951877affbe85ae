"""The details of a run: deployment, load, verdict with its reasons, figures, notes, machine, events."""

from collections.abc import Mapping
from typing import Any

from console.model.load import P95_FLOOR, P99_FLOOR
from console.model.recording import LIVE, Segment
from console.model.verdicts import RUNNING
from console.store.labels import load_name
from console.store.opened_run import OpenedRun
from console.tui import number_format
from console.tui.panels import marks
from console.tui.panels.live.switches import effect, outcome
from console.tui.styled_text import BLANK, Line, Lines, Span, clean, clip, joined, line, wrap

LABEL = 12
"""Cells of the labels."""
NEWEST_EVENTS = 6


def facts(opened: OpenedRun, width: int) -> Lines:
    """The details by importance: a short tile shows only the first ones."""
    run, report = opened.run, opened.report
    row = run.row
    rows: list[Line] = [
        _field("engine", marks.cell(row.requested, row.effective), line(Span(_shape(opened), "muted"))),
        _field("load", line(Span(clean(load_name(row)), "strong")), line(Span(_how_long(opened), "muted"))),
        _field(
            "verdict",
            marks.verdict(row.verdict, interrupted=bool(row.interrupted), slo_missed=bool(row.slo_missed)),
        ),
    ]
    rows += _reasons(opened, width)
    rows += [BLANK, *_figures(opened), *_server(report)]
    if report.get("bottleneck"):
        rows += _wrapped("bottleneck", str(report["bottleneck"].get("sentence", "")), width)
    rows += _segments(opened)
    rows += _notes(opened, width)
    rows += [BLANK, *_origin(opened, width)]
    events = run.events[-NEWEST_EVENTS:]
    if events:
        rows.append(BLANK)
    rows += [
        line(Span(f"{at} ", "muted"), Span(clean(text), _EVENT.get(level, "value"))) for at, _, level, text in events
    ]
    return tuple(clip(each, width) for each in rows)


_EVENT = {"warning": "warn", "error": "bad"}


def title(opened: OpenedRun) -> str:
    """The title of the border: run id and start."""
    row = opened.run.row
    return f"run {clean(row.run_id)} · {row.started_at[:19].replace('T', ' ')} UTC"


def _field(name: str, *parts: Line) -> Line:
    return (Span(name.ljust(LABEL), "label"), *joined([part for part in parts if part], Span("  ")))


def _wrapped(name: str, text: str, width: int, role: str = "value") -> list[Line]:
    body = wrap(text, max(10, width - LABEL), role)
    return [(Span((name if index == 0 else "").ljust(LABEL), "label"), *each) for index, each in enumerate(body)]


def _shape(opened: OpenedRun) -> str:
    live = opened.run.row.effective
    shape = f"{live.instances} × {live.threads} threads" if live.instances else ""
    return ", ".join(part for part in (clean(live.device), shape, clean(live.model.rsplit("/", 1)[-1])) if part)


def _how_long(opened: OpenedRun) -> str:
    row, spec = opened.run.row, opened.run.spec
    measured = f"{row.duration_s:.0f} s" if row.duration_s is not None else f"{len(opened.points)} s recorded"
    warm_up = spec.get("warm_up_s")
    return f"{measured} after {warm_up:g} s of warm-up" if warm_up else measured


def _reasons(opened: OpenedRun, width: int) -> list[Line]:
    """Why the verdict is not `ok`: failure, warnings, checks that did not pass."""
    row, report = opened.run.row, opened.report
    rows: list[Line] = []
    if row.failure:
        rows += _wrapped("", row.failure, width, "bad")
    if opened.run.report is None:
        state = "still running" if row.verdict == RUNNING else "no end recorded"
        rows += _wrapped("", f"{state}: figures from the intervals so far", width, "muted")
    for notice in report.get("warnings") or ():
        rows += _wrapped("", f"⚠ {notice.get('message', '')}", width, "warn")
    for name, check in (report.get("verdicts") or {}).items():
        if isinstance(check, Mapping) and not check.get("stable", check.get("holds", True)):
            rows += _wrapped("", f"~ {name.replace('_', ' ')}: {check.get('reason')}", width, "warn")
    return rows


def _figures(opened: OpenedRun) -> list[Line]:
    row, report = opened.run.row, opened.report
    throughput, latency = report.get("throughput") or {}, report.get("latency_ms") or {}
    low, high = throughput.get("ci_low"), throughput.get("ci_high")
    between = (
        f"95 %: {number_format.count(low)}–{number_format.count(high)}" if low is not None and high is not None else ""
    )
    stable = (report.get("verdicts") or {}).get("throughput", {}).get("stable", row.throughput_stable)
    rows = [
        _field(
            "texts/s",
            marks.with_stability(number_format.count(throughput.get("texts_per_s")), stable, 8),
            line(Span(between, "muted")),
        ),
        _field("requests/s", line(Span(number_format.count(throughput.get("requests_per_s")).rjust(7)))),
    ]
    if throughput.get("pairs_per_s") is not None:
        rows.append(_field("pairs/s", line(Span(number_format.count(throughput["pairs_per_s"]).rjust(7)))))
    n = int(latency.get("n") or 0)
    parts = [
        _percentile("p50", latency.get("p50"), n, 1),
        _percentile("p95", latency.get("p95"), n, P95_FLOOR),
        _percentile("p99", latency.get("p99"), n, P99_FLOOR),
        line(Span("max ", "label"), Span(number_format.ms(latency.get("max")))),
        line(Span(f"n={n:,}", "muted")),
    ]
    rows.append(_field("latency ms", joined(parts, Span("  "))))
    fidelity = report.get("fidelity") or {}
    if (mean := fidelity.get("cosine_mean", row.fidelity)) is not None:
        overlap = fidelity.get("overlap_at_10")
        more = f"overlap@10 {overlap:.3f}" if overlap is not None else "mean cosine to fp32"
        rows.append(_field("fidelity", marks.cosine(mean), line(Span(more, "muted"))))
    errors = ", ".join(f"{count:,} × {clean(code)}" for code, count in (report.get("errors") or {}).items())
    rows.append(_field("errors", line(Span(f"✖ {errors}", "bad") if errors else Span("none"))))
    return rows


def _percentile(name: str, value: float | None, n: int, floor: int) -> Line:
    if value is None:
        return line(
            Span(f"{name} ", "label"),
            Span(f"{number_format.NONE} (needs {floor})" if n < floor else number_format.NONE, "muted"),
        )
    return line(Span(f"{name} ", "label"), Span(number_format.ms(value), "strong"))


def _server(report: Mapping[str, Any]) -> list[Line]:
    server, client = report.get("server") or {}, report.get("client") or {}
    rows: list[Line] = []
    if (items := server.get("mean_batch_items")) is not None:
        padding = f", padding {server['padding_ratio']:.0%}" if server.get("padding_ratio") is not None else ""
        rows.append(_field("batches", line(Span(f"{items:.1f} texts{padding}"))))
    stages = {name: value for name, value in (server.get("stages_ms") or {}).items() if value is not None}
    if stages:
        named = [line(Span(f"{name} ", "label"), Span(number_format.ms(value))) for name, value in stages.items()]
        rows.append(_field("stages ms", joined(named, Span("  "))))
    cost = []
    if server.get("rss_bytes"):
        cost.append(line(Span("RSS "), Span(number_format.megabytes(server["rss_bytes"]))))
    if server.get("cpu") is not None:
        cost.append(line(Span("engine "), Span(number_format.cores(server["cpu"]))))
    if client.get("cpu") is not None:
        saturated = "⚠ the bottleneck" if client.get("saturated") else ""
        cost.append(
            line(Span("load generator "), Span(number_format.cores(client["cpu"])), Span(f" {saturated}", "warn"))
        )
    if cost:
        rows.append(_field("cost", joined(cost, Span("  "))))
    return rows


def _segments(opened: OpenedRun) -> list[Line]:
    """The segments of a run recorded from Live, with their figures, and what its switches changed."""
    rows: list[Line] = []
    several = len(opened.segments) > 1
    for one in opened.segments:
        segment = one.segment
        main = one.is_main and several
        span = f"{number_format.clock(segment.start_s)}–{number_format.clock(segment.end_s or 0.0)}"
        figures = line(
            Span(number_format.count(one.texts_per_s), "strong"),
            Span("/s  p95 ", "muted"),
            Span(number_format.ms(one.latency.p95_ms)),
        )
        what = line(Span(clean(segment.effective.cell), "strong"), Span(_knobs(segment), "muted"))
        name = f"segment {segment.ordinal}"
        rows.append(_field(name, line(Span("▸ " if main else "  ", "accent"), Span(span, "label")), figures, what))
    if several:
        rows.append(_field("", line(Span("▸ the segment of the figures above, the one measured longest", "muted"))))
    live = opened.run.live
    for delta in live.switches.final if live is not None else ():
        rows.append(_field(f"switch S{delta.ordinal}", line(Span(clean(delta.label), "strong"))))
        rows += [_field("", row) for row in (*effect(delta), outcome(delta))]
    return [BLANK, *rows] if rows else []


def _knobs(segment: Segment) -> str:
    return "" if segment.batching.coalesce else ", no coalescing"


def _notes(opened: OpenedRun, width: int) -> list[Line]:
    run, rows = opened.run, []
    if run.row.tags:
        rows.append(_field("tags", line(Span(clean(" ".join(f"#{tag}" for tag in run.row.tags)), "accent"))))
    for written_at, text in run.notes:
        rows += _wrapped("note", f"{written_at[:16].replace('T', ' ')}  {text}", width, "strong")
    return [BLANK, *rows] if rows else []


def _origin(opened: OpenedRun, width: int) -> list[Line]:
    run = opened.run
    environment = run.environment
    libraries = environment.get("libraries") or {}
    package = {"onnx": "onnxruntime"}.get(run.row.effective.backend, run.row.effective.backend)
    version = f", {package} {libraries[package]}" if package in libraries else ""
    rows: list[Line] = []
    if environment:
        rows += _wrapped("machine", f"{environment.get('cpu_model')}, {environment.get('cores')} cores{version}", width)
    git = environment.get("git") or {}
    if git.get("revision"):
        rows.append(_field("git", line(Span(f"{git['revision'][:12]}{' (changed)' if git.get('dirty') else ''}"))))
    if run.row.origin == LIVE:
        rows.append(_field("origin", line(Span("recorded from Live"))))
    if run.row.sweep_id:
        rows.append(_field("sweep", line(Span(clean(run.row.sweep_id)))))
    rows.append(
        _field(
            "recorded",
            line(
                Span(f"{len(run.intervals)} s, {len(run.events)} event{'s' if len(run.events) != 1 else ''}", "muted")
            ),
        )
    )
    return rows
