"""A stored run with its chart, as a screen shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from console.model.load import Point
from console.model.recording import SegmentFigures

if TYPE_CHECKING:
    from console.store.read import StoredRun


@dataclass(frozen=True, slots=True)
class OpenedRun:
    """A complete run with its report and chart points."""

    run: "StoredRun"
    report: Mapping[str, Any]
    """The object of `run --json`; computed from the intervals if the run did not end. Empty: nothing was measured."""
    points: tuple[Point, ...]
    """One point per interval; times start with the load."""
    segments: tuple[SegmentFigures, ...] = ()
    """Of a run recorded from Live, in order."""
