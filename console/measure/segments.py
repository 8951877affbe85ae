"""The segments of a recorded load: where they begin and end, and which one the run's figures come from. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from console.model.engine import Batching, Deployment, Engine, EngineState
from console.model.recording import Segment
from console.session.switch_delta import CUT_S

LEAST_MEASURED_S = 2.0
"""A segment with less time after its warm-up may hold no whole interval."""
_KNOB_NAMES = {"max_batch_tokens": "token budget", "max_batch_items": "texts per batch", "max_wait_ms": "wait ms"}


def measured_s(segment: Segment) -> float:
    """Returns the seconds after the warm-up of a segment whose end is known."""
    return max((segment.end_s or 0.0) - max(segment.measured_from_s, segment.start_s), 0.0)


def with_ends(segments: Sequence[Segment], length_s: float) -> tuple[Segment, ...]:
    """Returns the segments with their ends. `length_s`: the length of the run."""
    return tuple(one if one.end_s is not None else replace(one, end_s=length_s) for one in segments)


def main_segment(segments: Sequence[Segment], length_s: float) -> Segment:
    """Returns the segment that was measured longest, the later of equals.

    If none was measured long enough, returns the longest one, measured from its start with its warm-up.
    """
    ended = with_ends(segments, length_s)
    longest = max(reversed(ended), key=measured_s)
    if measured_s(longest) >= LEAST_MEASURED_S:
        return longest
    longest = max(reversed(ended), key=lambda one: (one.end_s or 0.0) - one.start_s)
    return replace(longest, measured_from_s=longest.start_s)


@dataclass(frozen=True, slots=True)
class _Conditions:
    """What a change of begins a segment."""

    requested: Deployment
    effective: Deployment
    epoch: int
    batching: Batching


class SegmentTracker:
    """Divides a running load into segments, from the engine's state. Times start with the load."""

    def __init__(self, warm_up_s: float) -> None:
        """`warm_up_s`: the ramp and the warm-up of the load."""
        self.segments: tuple[Segment, ...] = ()
        self._warm_up_s = warm_up_s
        self._before: _Conditions | None = None
        self._cut_over_s: float | None = None

    def observe(self, engine: Engine, time_s: float, since_s: float | None = None) -> bool:
        """Takes the engine's state at `time_s`. Returns whether the segments have changed.

        `since_s`: when the state may have changed, if earlier; what lies between belongs to no segment.
        """
        changed_s = time_s if since_s is None else since_s
        if engine.state is EngineState.SWITCHING:
            return self.close(changed_s)
        if engine.state is not EngineState.RUNNING:
            return False
        now = _Conditions(engine.requested, engine.effective, engine.epoch, engine.batching)
        if now == self._before and self._is_open:
            return False
        self.close(changed_s)
        last_end_s = self.segments[-1].end_s or 0.0 if self.segments else 0.0
        start_s = max(last_end_s, time_s if self._cut_over_s is None else self._cut_over_s)
        settled_s = start_s + CUT_S if self.segments else 0.0
        self._begin(engine, start_s, max(settled_s, self._warm_up_s), _change(self._before, now))
        self._before, self._cut_over_s = now, None
        return True

    def _begin(self, engine: Engine, start_s: float, measured_from_s: float, change: str = "") -> None:
        segment = Segment(
            ordinal=len(self.segments) + 1,
            start_s=start_s,
            measured_from_s=measured_from_s,
            requested=engine.requested,
            effective=engine.effective,
            batching=engine.batching,
            epoch=engine.epoch,
            warnings=engine.warnings,
            change=change,
        )
        self.segments = (*self.segments, segment)

    def end(self, engine: Engine, time_s: float) -> None:
        """Ends the last segment with the load. A load during which no state was steady is one segment."""
        self.close(time_s)
        if not self.segments:
            self._begin(engine, 0.0, self._warm_up_s)
            self.close(time_s)

    def cut_over(self, time_s: float) -> None:
        """Sets the time at which the next deployment began to serve."""
        self.close(time_s)
        self._cut_over_s = time_s

    def close(self, time_s: float) -> bool:
        """Ends the open segment, if there is one. Returns whether there was."""
        if not self._is_open:
            return False
        self.segments = (*self.segments[:-1], replace(self.segments[-1], end_s=max(time_s, self.segments[-1].start_s)))
        return True

    @property
    def _is_open(self) -> bool:
        return bool(self.segments) and self.segments[-1].end_s is None


def _change(before: _Conditions | None, now: _Conditions) -> str:
    """Returns what has changed, in words; empty for the first segment."""
    if before is None:
        return ""
    parts = []
    if before.effective != now.effective or before.requested != now.requested or before.epoch != now.epoch:
        was, runs = before.effective, now.effective
        if was.cell != runs.cell:
            parts.append(f"{was.cell} → {runs.cell}")
        elif (was.instances, was.threads) != (runs.instances, runs.threads):
            parts.append(f"{was.instances} × {was.threads} → {runs.instances} × {runs.threads} threads")
        elif before.requested != now.requested:
            parts.append(f"requested {now.requested.cell}")
        else:
            parts.append("the deployment was replaced")
    for one in fields(Batching):
        value = getattr(now.batching, one.name)
        if value != getattr(before.batching, one.name):
            is_switch = one.name == "coalesce"
            parts.append(
                f"coalescing {'on' if value else 'off'}" if is_switch else f"{_KNOB_NAMES[one.name]} {value:g}"
            )
    return ", ".join(parts) or "the switch did not take place"
