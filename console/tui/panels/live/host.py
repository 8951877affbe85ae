"""The Host panel: CPU and memory of the engine, the load generator and the console."""

from textual.geometry import Size

from console.model.frame import Frame
from console.tui import number_format
from console.tui.styled_text import Span, StyledText, clip, joined, line
from console.tui.view import View


def host(frame: Frame, _view: View, size: Size) -> StyledText:
    """CPU as a share of one core, memory, queue, dropped frames."""
    engine = frame.engine
    gap = Span("   ")
    cpu = joined(
        (
            line(Span("cpu engine ", "label"), Span(number_format.cores(engine.cpu_cores), "strong")),
            line(Span("load ", "label"), Span(number_format.cores(frame.load.cpu_cores))),
            line(Span("UI ", "label"), Span(number_format.cores(frame.console_cpu))),
        ),
        gap,
    )
    memory = line(
        Span("rss engine ", "label"),
        Span(number_format.megabytes(engine.rss_bytes) if engine.rss_bytes else "–"),
        Span(f"   {engine.cores} cores" if engine.cores else "", "muted"),
    )
    queue = joined(
        (
            line(Span("queue ", "label"), Span(f"{engine.queued_items:,}"), Span(" texts", "muted")),
            line(Span("in flight ", "label"), Span(f"{engine.in_flight_requests:,}")),
            line(Span("oldest ", "label"), Span(f"{engine.oldest_in_flight_s * 1000:,.0f}"), Span(" ms", "muted")),
        ),
        Span("  "),
    )
    dropped = frame.dropped_frames
    feed = line(
        *(Span("dropped frames ", "label"), Span(f"{dropped:,}", "warn" if dropped else "value")),
        *(Span("   last frame ", "label"), Span(f"{engine.last_frame_age_s * 1000:,.0f}"), Span(" ms ago", "muted")),
    )
    ring = line(Span(f"ring 10 min · {len(frame.points):,} intervals", "muted"))
    rows = (cpu, memory, queue, feed, ring)
    return StyledText(tuple(clip(row, size.width) for row in rows[: size.height]), "host · cost of the console")
