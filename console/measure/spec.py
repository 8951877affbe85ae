"""The specification of a run: its load, how long to measure, and the SLO."""

from dataclasses import dataclass, fields, replace

from console.measure.segments import main_segment
from console.model.load import LoadSpec
from console.model.recording import Segment
from console.store.read import StoredRun


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What to measure."""

    load: LoadSpec
    duration_s: float = 10.0
    warm_up_s: float = 3.0
    slo_p95_ms: float | None = None
    at_most_s: float | None = None
    """If given, measuring goes on past `duration_s` until the figures are certified, for at most this long."""
    from_s: float | None = None
    until_s: float | None = None
    """If given, the part of the load that the figures come from, in seconds after its start: a segment of it."""

    @property
    def longest_s(self) -> float:
        """The longest time to measure, without the warm-up."""
        return self.at_most_s or self.duration_s


def spec_of(run: StoredRun) -> RunSpec:
    """Returns the specification from which the figures of a stored run are computed.

    That of a run recorded from Live is that of its main segment.
    """
    spec = stored_spec(run)
    if run.live is None or not run.live.segments:
        return spec
    length_s = run.intervals[-1].end_s if run.intervals else 0.0
    return segment_spec(spec, main_segment(run.live.segments, length_s))


def stored_spec(run: StoredRun) -> RunSpec:
    """Returns the specification that the run started with. Keys that this version does not know are ignored."""
    known, of_load = ({field.name for field in fields(kind)} for kind in (RunSpec, LoadSpec))
    load = {name: value for name, value in run.spec["load"].items() if name in of_load}
    spec = {name: value for name, value in run.spec.items() if name in known}
    return RunSpec(**{**spec, "load": LoadSpec(**load)})


def segment_spec(spec: RunSpec, segment: Segment) -> RunSpec:
    """Returns the specification with which a segment is measured. Its end must be known."""
    end_s = segment.end_s if segment.end_s is not None else segment.start_s
    return replace(
        spec,
        duration_s=max(end_s - segment.measured_from_s, 0.0),
        warm_up_s=segment.measured_from_s - segment.start_s,
        from_s=segment.measured_from_s,
        until_s=end_s,
    )
