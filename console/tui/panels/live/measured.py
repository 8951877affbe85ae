"""The throughput of one cell as lines: each figure with its load, date and method, an unlike one dimmed."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from console.model.engine import CapabilityCell
from console.tui.number_format import count, ms
from console.tui.styled_text import Line, Span, clean, line

if TYPE_CHECKING:
    from console.services.measured_cells import CellThroughput, MeasuredCells


def throughput_lines(cell: CapabilityCell, measured: "MeasuredCells | None") -> list[Line]:
    """Returns the cell's throughput under the present load; without one, the newest figure under another load.

    `measured` is None until the store has been read, or without a store.
    """
    key = (cell.backend, cell.precision, cell.recipe, cell.device)
    rows: list[Line] = []
    if measured is not None:
        if (alike := measured.alike.get(key)) is not None:
            return [line(Span(f"at this load ({clean(measured.load)}): ", "label"), *_figures(alike, "strong"))]
        rows.append(line(Span(f"at this load ({clean(measured.load)}): not measured", "label")))
        if (other := measured.other.get(key)) is not None:
            load = Span(f"at another load ({clean(other.load)}): ", "muted")
            return [*rows, line(load, *_figures(other, "muted"))]
    if cell.peak is not None:
        peak = cell.peak
        text = (
            f"best {peak.window_s:g} s while it last served: {count(peak.texts_per_s)} texts/s with"
            f" {peak.texts_per_request:.0f} texts a request, {peak.in_flight_requests:.0f} in flight, "
            f"{_day(datetime.fromtimestamp(peak.at_unix_s, UTC))}"
        )
        rows.append(line(Span(text, "muted")))
    return rows


def _figures(found: "CellThroughput", role: str) -> tuple[Span, ...]:
    steady = "" if found.steady else "~"
    p95 = f", p95 {ms(found.p95_ms)} ms" if found.p95_ms is not None else ""
    day = _day(datetime.fromisoformat(found.started_at))
    figures = Span(f"{count(found.texts_per_s)}{steady} texts/s{p95}", role)
    return figures, Span(f" · run …{found.run_id[-4:]}, {day}", "muted")


def _day(at: datetime) -> str:
    """`28 Nov 13:45` in local time."""
    return f"{at.astimezone():%d %b %H:%M}"
