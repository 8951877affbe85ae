"""What a report's charts show, as data: `report_svg.py` draws them. Pure.

Figures that were not steady are marked as such in every chart.
"""

from dataclasses import dataclass

from console.report.cells import STAGES, Cell
from console.report.model import ReportModel

MOST_BARS = 24
MOST_LINES = 6


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure with its interval."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    steady: bool = True
    highlighted: bool = False


@dataclass(frozen=True, slots=True)
class Bars:
    """Figures side by side, in the order given."""

    title: str
    unit: str
    bars: tuple[Bar, ...]

    @property
    def marks(self) -> int:
        return len(self.bars)


@dataclass(frozen=True, slots=True)
class Span:
    """p50 to p95 of one deployment; without a p95 the median alone."""

    label: str
    low: float
    high: float | None
    steady: bool = True
    high_steady: bool = True


@dataclass(frozen=True, slots=True)
class Spans:
    """Ranges below each other."""

    title: str
    unit: str
    spans: tuple[Span, ...]

    @property
    def marks(self) -> int:
        return len(self.spans) + sum(span.high is not None for span in self.spans)


@dataclass(frozen=True, slots=True)
class Point:
    """A place on a chart. `x` is a name on a chart of lines, a number on one of dots."""

    x: str | float
    y: float
    steady: bool = True


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one name, joined."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Lines:
    """Series over named steps, `steps` in order."""

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
    """One labelled place."""

    label: str
    x: float
    y: float
    steady: bool
    highlighted: bool


@dataclass(frozen=True, slots=True)
class Dots:
    """A scatter; highlighted dots are joined as the front."""

    title: str
    x_label: str
    y_label: str
    dots: tuple[Dot, ...]

    @property
    def marks(self) -> int:
        return len(self.dots)


@dataclass(frozen=True, slots=True)
class Stack:
    """Parts of a whole, one row a deployment."""

    title: str
    unit: str
    parts: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float, ...]], ...]

    @property
    def marks(self) -> int:
        return sum(value > 0 for _, values in self.rows for value in values)


Chart = Bars | Spans | Lines | Dots | Stack


def throughput_chart(model: ReportModel) -> Bars:
    """Deployments at the chosen load, fastest first, the baseline highlighted."""
    bars = [
        Bar(
            one.cell.name,
            one.cell.texts_per_s or 0.0,
            one.cell.low,
            one.cell.high,
            one.cell.is_rate_valid,
            one.is_baseline,
        )
        for one in model.throughput[:MOST_BARS]
    ]
    base = " (baseline highlighted)" if model.baseline is not None else ""
    return Bars(f"Throughput at {model.chosen}{base}", "texts/s", tuple(bars))


def latency_chart(model: ReportModel) -> Spans | None:
    """p50 and p95 at the chosen load, lowest first."""
    spans = [
        Span(
            one.cell.name,
            one.cell.latency.p50_ms,
            one.cell.latency.p95_ms,
            one.cell.is_valid,
            one.cell.is_valid and one.cell.p95_stable is not False,
        )
        for one in model.throughput[:MOST_BARS]
        if one.cell.latency.p50_ms is not None
    ]
    ordered = tuple(sorted(spans, key=lambda span: span.low))
    return Spans(f"Latency at {model.chosen}, p50 to p95", "ms", ordered) if ordered else None


def scaling_chart(model: ReportModel) -> Lines | None:
    """texts/s by batch size at the concurrency of the chosen load, where several batch sizes were measured."""
    here = next(one.cell.load for one in model.throughput)

    def alike(cell: Cell) -> bool:
        load = cell.load
        return bool(cell.texts_per_s) and not load.rate and (
            load.concurrency, load.workload, load.corpus, load.stream, load.coalesce
        ) == (here.concurrency, here.workload, here.corpus, here.stream, here.coalesce)  # fmt: skip

    cells = [cell for cell in model.cells if alike(cell)]
    batches = sorted({cell.load.batch for cell in cells})
    if len(batches) < 2 or here.rate:
        return None
    names = [one.cell.name for one in model.throughput][:MOST_LINES]
    series = tuple(_series(name, [cell for cell in cells if cell.name == name], "batch") for name in names)
    steps = tuple(map(str, batches))
    title = f"Throughput by batch size, {here.concurrency} in flight"
    return Lines(title, "texts a request", "texts/s", steps, tuple(one for one in series if len(one.points) > 1))


def coalescing_chart(model: ReportModel) -> Lines | None:
    """texts/s by callers, off and on, of the deployment that has most pairs."""
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
    title = f"{name}, batch {batch}: throughput by callers, coalescing off and on"
    return Lines(title, "requests in flight", "texts/s", steps, both)


def _series(name: str, cells: list[Cell], axis: str) -> Series:
    ordered = sorted(cells, key=lambda cell: int(getattr(cell.load, axis)))
    return Series(
        name,
        tuple(Point(str(getattr(cell.load, axis)), cell.texts_per_s or 0.0, cell.is_rate_valid) for cell in ordered),
    )


def trade_chart(model: ReportModel) -> Dots:
    """Fidelity against speed."""
    dots = tuple(
        Dot(
            trade.cell.name,
            trade.cell.fidelity or 0.0,
            trade.cell.texts_per_s or 0.0,
            trade.cell.is_rate_valid,
            trade.on_front,
        )
        for trade in model.trades
    )
    title = f"Speed against fidelity at {model.chosen} (the line is the Pareto front)"
    return Dots(title, "mean cosine to fp32", "texts/s", dots)


def stages_chart(model: ReportModel) -> Stack | None:
    """Where a request's time goes on the server."""
    rows = [
        (one.cell.name, tuple(one.cell.stages_ms.get(stage, 0.0) for stage in STAGES))
        for one in model.throughput[:MOST_BARS]
        if sum(one.cell.stages_ms.values()) > 0
    ]
    return Stack(f"Server time of a request at {model.chosen}", "ms", STAGES, tuple(rows)) if rows else None
