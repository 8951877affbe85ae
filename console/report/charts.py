"""The charts of a report as data, which `render/svg.py` draws. Pure functions.

Every chart marks the figures that were not steady.
"""

from dataclasses import dataclass

from console.report.model import ReportModel
from console.report.rows import STAGES, ReportRow

MOST_BARS = 24
"""Deployments on a chart with one row for each."""
MOST_LINES = 6
"""Series on a chart of lines: one for each colour of the page."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure with its 95 % interval. `highlighted` marks the baseline."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    steady: bool = True
    highlighted: bool = False


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar chart, in the order given."""

    title: str
    unit: str
    bars: tuple[Bar, ...]

    @property
    def marks(self) -> int:
        return len(self.bars)


@dataclass(frozen=True, slots=True)
class Span:
    """p50 (`low`) and p95 (`high`) of one deployment. `high` is None if there were too few requests for a p95."""

    label: str
    low: float
    high: float | None
    steady: bool = True
    high_steady: bool = True


@dataclass(frozen=True, slots=True)
class Spans:
    """A chart of ranges, one row for each."""

    title: str
    unit: str
    spans: tuple[Span, ...]

    @property
    def marks(self) -> int:
        return len(self.spans) + sum(span.high is not None for span in self.spans)


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a series. `x` is one of the chart's `steps`."""

    x: str
    y: float
    steady: bool = True


@dataclass(frozen=True, slots=True)
class Series:
    """A named line through its points."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """A line chart over `steps`, which are equally spaced."""

    title: str
    x_label: str
    y_label: str
    steps: tuple[str, ...]
    series: tuple[Series, ...]

    @property
    def marks(self) -> int:
        return sum(len(series.points) for series in self.series)


@dataclass(frozen=True, slots=True)
class Dot:
    """A labelled point of a scatter plot. `highlighted`: on the Pareto front."""

    label: str
    x: float
    y: float
    steady: bool
    highlighted: bool


@dataclass(frozen=True, slots=True)
class Dots:
    """A scatter plot. A dashed line joins the highlighted dots, the Pareto front."""

    title: str
    x_label: str
    y_label: str
    dots: tuple[Dot, ...]

    @property
    def marks(self) -> int:
        return len(self.dots)


@dataclass(frozen=True, slots=True)
class Stack:
    """A stacked bar chart, one row for each deployment."""

    title: str
    unit: str
    parts: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]

    @property
    def marks(self) -> int:
        return sum(value > 0 for _, values in self.rows for value in values)


Chart = Bars | Spans | Lines | Dots | Stack


def throughput_chart(model: ReportModel) -> Bars:
    """Throughput at the chosen load, highest first, with the baseline highlighted."""
    bars = [
        Bar(
            one.row.title,
            one.row.texts_per_s or 0.0,
            one.row.low,
            one.row.high,
            one.row.is_rate_valid,
            one.is_baseline,
        )
        for one in model.throughput[:MOST_BARS]
    ]
    return Bars(f"Throughput at {model.chosen_title}", "texts/s", tuple(bars))


def latency_chart(model: ReportModel) -> Spans | None:
    """p50 and p95 at the chosen load, lowest p50 first."""
    spans = [
        Span(
            one.row.title,
            one.row.latency.p50_ms,
            one.row.latency.p95_ms,
            one.row.is_valid,
            one.row.is_valid and one.row.p95_stable is not False,
        )
        for one in model.throughput[:MOST_BARS]
        if one.row.latency.p50_ms is not None
    ]
    ordered = tuple(sorted(spans, key=lambda span: span.low))
    return Spans(f"Latency at {model.chosen_title}, p50 to p95", "ms", ordered) if ordered else None


def scaling_chart(model: ReportModel) -> Lines | None:
    """Throughput by batch size at the concurrency of the chosen load; None without two batch sizes."""
    here = next(one.row.load for one in model.throughput)

    def alike(row: ReportRow) -> bool:
        load = row.load
        return bool(row.texts_per_s) and not load.rate and (
            load.concurrency, load.workload, load.corpus, load.stream, load.coalesce
        ) == (here.concurrency, here.workload, here.corpus, here.stream, here.coalesce)  # fmt: skip

    rows = [row for row in model.rows if alike(row)]
    batches = sorted({row.load.batch for row in rows})
    if len(batches) < 2 or here.rate:
        return None
    shown = [one.row for one in model.throughput][:MOST_LINES]
    series = tuple(_series(one.title, [row for row in rows if row.name == one.name], "batch") for one in shown)
    steps = tuple(map(str, batches))
    title = f"Throughput by batch size, {here.concurrency} in flight"
    return Lines(title, "texts per request", "texts/s", steps, tuple(one for one in series if len(one.points) > 1))


def coalescing_chart(model: ReportModel) -> Lines | None:
    """Throughput by concurrency, off and on, of the deployment with the most pairs; None without two concurrencies."""
    names = [pair.on.name for pair in model.coalescing if not pair.on.load.rate]
    if not names:
        return None
    name = max(dict.fromkeys(names), key=names.count)
    batch = min(pair.on.load.batch for pair in model.coalescing if pair.on.name == name)
    pairs = [pair for pair in model.coalescing if pair.on.name == name and pair.on.load.batch == batch]
    steps = tuple(str(step) for step in sorted({pair.on.load.concurrency for pair in pairs}))
    if len(steps) < 2:
        return None
    both = (
        _series("coalescing off", [pair.off for pair in pairs], "concurrency"),
        _series("coalescing on", [pair.on for pair in pairs], "concurrency"),
    )
    title = f"{pairs[0].on.title}, batch {batch}: throughput by concurrency, coalescing off and on"
    return Lines(title, "requests in flight", "texts/s", steps, both)


def _series(name: str, rows: list[ReportRow], axis: str) -> Series:
    ordered = sorted(rows, key=lambda row: int(getattr(row.load, axis)))
    return Series(
        name,
        tuple(Point(str(getattr(row.load, axis)), row.texts_per_s or 0.0, row.is_rate_valid) for row in ordered),
    )


def fidelity_chart(model: ReportModel) -> Dots:
    """Throughput versus fidelity at the chosen load."""
    dots = tuple(
        Dot(
            trade.row.title,
            trade.row.fidelity or 0.0,
            trade.row.texts_per_s or 0.0,
            trade.row.is_rate_valid,
            trade.on_front,
        )
        for trade in model.trades
    )
    title = f"Throughput vs fidelity at {model.chosen_title}"
    return Dots(title, "mean cosine to fp32", "texts/s", dots)


def stages_chart(model: ReportModel) -> Stack | None:
    """Mean time of a request in each stage on the server, at the chosen load."""
    rows = [
        (one.row.title, tuple(one.row.stages_ms.get(stage, 0.0) for stage in STAGES))
        for one in model.throughput[:MOST_BARS]
        if sum(one.row.stages_ms.values()) > 0
    ]
    return Stack(f"Server time per request at {model.chosen_title}", "ms", STAGES, tuple(rows)) if rows else None
