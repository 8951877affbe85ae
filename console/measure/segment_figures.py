"""The figures of each segment of a run recorded from Live, computed from its stored intervals. Pure."""

from console.analysis.steady_state import percentiles, rates
from console.measure.certification import steady
from console.measure.segments import LEAST_MEASURED_S, main_segment, measured_s, with_ends
from console.measure.spec import segment_spec, stored_spec
from console.model.recording import SegmentFigures
from console.store.read import StoredRun


def segment_figures(run: StoredRun) -> tuple[SegmentFigures, ...]:
    """Returns the segments of a run in order; none for a run that was not recorded from Live."""
    if run.live is None or not run.live.segments or not run.intervals:
        return ()
    length_s = run.intervals[-1].end_s
    main = main_segment(run.live.segments, length_s)
    figures = []
    for segment in with_ends(run.live.segments, length_s):
        is_main = segment.ordinal == main.ordinal
        measured = main if is_main else segment
        inside = []
        if is_main or measured_s(segment) >= LEAST_MEASURED_S:
            inside = steady(run.intervals, 0.0, segment_spec(stored_spec(run), measured))
        found = rates(inside)
        latency = percentiles([interval.answers for interval in inside], certified=True)
        figures.append(SegmentFigures(measured, is_main, found.texts_per_s if found else None, latency))
    return tuple(figures)
