"""What the store keeps only of a run recorded from Live: segments, switches, markers, ticks and samples."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from console.load.protocol import Tick
from console.model.engine import Batching, Deployment, Notice
from console.model.recording import Segment
from console.model.switch import Change, Marker, SwitchDelta
from console.session.live_metrics import EngineSample
from console.store.database import Store
from console.store.rows import Row
from console.store.write import insert_row

T = TypeVar("T")
_CHANGES = ("texts_per_s", "p50_ms", "p95_ms", "p99_ms", "rss_bytes", "fidelity")


@dataclass(frozen=True, slots=True)
class DeltaVersion:
    """A switch delta as the screen showed it from `at_s` on. Times start with the run's load."""

    at_s: float
    delta: SwitchDelta


@dataclass(frozen=True, slots=True)
class SwitchRecord:
    """The switches and marks of a run: every version of their deltas, oldest first, and their markers."""

    deltas: tuple[DeltaVersion, ...] = ()
    markers: tuple[Marker, ...] = ()

    @property
    def final(self) -> tuple[SwitchDelta, ...]:
        """The newest version of each delta, in the order of the switches."""
        newest = {version.delta.ordinal: version.delta for version in self.deltas}
        return tuple(newest[ordinal] for ordinal in sorted(newest))


@dataclass(frozen=True, slots=True)
class LiveRecord:
    """What only a run recorded from Live has. Times start with the run's load."""

    segments: tuple[Segment, ...]
    switches: SwitchRecord
    ticks: tuple[Tick, ...]
    arrived_s: tuple[float, ...]
    """For each interval, when it arrived: from then on the screen showed it."""
    ticks_known: tuple[int, ...]
    """For each interval, the number of ticks that had arrived when it did."""
    samples_known: tuple[int, ...]
    """For each interval, the number of the engine's samples that had arrived when it did."""


def live_columns(arrived_s: float, ticks: Sequence[Tick], samples: Sequence[EngineSample]) -> Row:
    """Returns the columns of an interval with the ticks and samples that arrived since the interval before it."""
    return {
        "arrived_s": arrived_s,
        "ticks": json.dumps([[one.time_s, *_counters(one)] for one in ticks], separators=(",", ":")),
        "samples": json.dumps([asdict(sample) for sample in samples], separators=(",", ":")),
    }


def _counters(tick: Tick) -> tuple[int, int, int, int, int]:
    return tick.requests, tick.texts, tick.errors, tick.retries, tick.in_flight


def ticks_of(row: Mapping[str, Any]) -> list[Tick]:
    """Returns the ticks of an interval's row; none for a run that was not recorded from Live."""
    return [Tick(*values) for values in json.loads(row["ticks"])] if row["ticks"] else []


def samples_of(row: Mapping[str, Any]) -> list[EngineSample]:
    """Returns the samples of an interval's row; none for a run that was not recorded from Live."""
    return [_known(EngineSample, values) for values in json.loads(row["samples"])] if row["samples"] else []


def set_segments(store: Store, run_id: str, segments: Sequence[Segment]) -> None:
    """Replaces the segments of a run. Raises StoreError."""
    with store.writing() as connection:
        connection.execute("DELETE FROM segment WHERE run_id = ?", (run_id,))
        for one in segments:
            row = {"run_id": run_id, "ordinal": one.ordinal, "start_s": one.start_s, "end_s": one.end_s}
            insert_row(connection, "segment", {**row, "facts": json.dumps(asdict(one))})


def add_switches(store: Store, run_id: str, record: SwitchRecord) -> None:
    """Adds versions of switch deltas, and markers. Raises StoreError."""
    with store.writing() as connection:
        for version in record.deltas:
            row = {"run_id": run_id, "ordinal": version.delta.ordinal, "at_s": version.at_s}
            insert_row(connection, "switch_delta", {**row, "facts": json.dumps(asdict(version.delta))}, "OR REPLACE")
        for marker in record.markers:
            row = {"run_id": run_id, "ordinal": marker.ordinal, "by_hand": marker.by_hand}
            insert_row(connection, "marker", {**row, "facts": json.dumps(asdict(marker))}, "OR REPLACE")


def read_live(
    connection: sqlite3.Connection, run_id: str, intervals: Sequence[Mapping[str, Any]]
) -> tuple[LiveRecord, tuple[EngineSample, ...]]:
    """Returns the record and all samples. `intervals`: the rows of the run's intervals, in order."""
    ticks: list[Tick] = []
    samples: list[EngineSample] = []
    ticks_known, samples_known = [], []
    for row in intervals:
        ticks += ticks_of(row)
        samples += samples_of(row)
        ticks_known.append(len(ticks))
        samples_known.append(len(samples))

    def facts(table: str, order: str) -> list[Mapping[str, Any]]:
        query = f"SELECT * FROM {table} WHERE run_id = ? ORDER BY {order}"  # noqa: S608 - the names are constants
        return list(connection.execute(query, (run_id,)))

    record = LiveRecord(
        segments=tuple(segment_of(json.loads(row["facts"])) for row in facts("segment", "ordinal")),
        switches=SwitchRecord(
            deltas=tuple(
                DeltaVersion(row["at_s"], delta_of(json.loads(row["facts"])))
                for row in facts("switch_delta", "at_s, ordinal")
            ),
            markers=tuple(sorted(
                (_known(Marker, json.loads(row["facts"])) for row in facts("marker", "ordinal")),
                key=lambda marker: marker.time_s,
            )),
        ),
        ticks=tuple(ticks),
        arrived_s=tuple(row["arrived_s"] for row in intervals),
        ticks_known=tuple(ticks_known),
        samples_known=tuple(samples_known),
    )  # fmt: skip
    return record, tuple(samples)


def segment_of(facts: Mapping[str, Any]) -> Segment:
    """Returns the segment of `dataclasses.asdict`."""
    values = dict(facts)
    for side in ("requested", "effective"):
        values[side] = _known(Deployment, values[side])
    values["batching"] = _known(Batching, values["batching"])
    values["warnings"] = tuple(_known(Notice, one) for one in values["warnings"])
    return _known(Segment, values)


def delta_of(facts: Mapping[str, Any]) -> SwitchDelta:
    """Returns the delta of `dataclasses.asdict`."""
    changes = {name: _known(Change, facts[name]) for name in _CHANGES if facts.get(name)}
    return _known(SwitchDelta, {**facts, **changes})


def marker_of(facts: Mapping[str, Any]) -> Marker:
    """Returns the marker of `dataclasses.asdict`."""
    return _known(Marker, facts)


def _known(kind: type[T], values: Mapping[str, Any]) -> T:
    """Returns the dataclass without the keys that this version does not know."""
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]  # only dataclasses are passed
    return kind(**{name: value for name, value in values.items() if name in names})
