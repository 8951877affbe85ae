"""A replay shows what was measured, at any position and speed, and invents nothing between two intervals."""

from dataclasses import replace
from pathlib import Path

import pytest

from console.analysis.steady_state import percentiles
from console.load.protocol import Interval
from console.model.errors import CommandRefused
from console.output.replay import Playback, Replay
from console.services.runs import opened
from console.session.live_metrics import EngineSample, LiveMetrics
from console.store.opened_run import OpenedRun
from console.store.read import load_run
from console.store.rows import interval_row
from console.store.write import add_intervals, begin_run
from tests.console.fakes import recorded
from tests.unit.console.support.intervals import answers, second
from tests.unit.console.support.made import GOOD, start_of, store_in

FIRST = "r-20261123-100000-3fa2"


def first() -> OpenedRun:
    """Twelve seconds of onnx fp32 at 32 × 4, the first two of them warm-up."""
    return recorded.recorded()[1][FIRST]


def stored(folder: Path, intervals: list[Interval], events: tuple[tuple[str, str, str, str], ...] = ()) -> OpenedRun:
    with store_in(folder) as store:
        begin_run(store, start_of(GOOD))
        add_intervals(store, GOOD.run_id, [interval_row(one, None, 0.0, 1.0) for one in intervals], 0)
        return opened(replace(load_run(store, GOOD.run_id), events=events))


@pytest.mark.parametrize("end", [5, 9, 12])
def test_the_window_s_percentiles_and_rates_are_those_of_the_stored_histograms(end: int) -> None:
    window = Replay(first()).at(float(end)).window
    kept = first().run.intervals[end - 5 : end]
    assert window.latency == percentiles([interval.answers for interval in kept], certified=False)
    assert window.latency.n == sum(interval.answers.requests for interval in kept)
    assert window.texts_per_s == pytest.approx(sum(interval.answers.texts for interval in kept) / 5)
    assert window.requests_per_s == pytest.approx(window.latency.n / 5)


def test_what_live_would_have_shown_is_what_a_replay_shows() -> None:
    run, live = first().run, LiveMetrics()
    live.load_started(0.0)
    for sample, interval in zip(run.samples, run.intervals, strict=True):
        live.sample(sample)
        live.interval(interval)
    frame = Replay(first()).at(12.0)
    shown = live.window()
    assert (frame.window.latency, frame.window.stages) == (shown.latency, shown.stages)
    assert tuple(frame.points) == tuple(live.points)
    assert frame.window.mean_batch_items == pytest.approx(28.8, abs=0.1)


def test_nothing_is_invented_between_two_intervals() -> None:
    replay = Replay(first())
    assert replay.at(6.99).window == replay.at(6.0).window
    assert replay.at(6.99).load.texts < replay.at(7.0).load.texts
    assert len(replay.at(6.99).points) == 6


def test_before_the_first_second_there_are_no_figures_and_at_the_end_all_that_was_sent() -> None:
    replay = Replay(first())
    begin, end = replay.at(0.0), replay.at(replay.length_s)
    assert begin.window.texts_per_s is None
    assert not begin.points
    assert begin.load.warming_up
    assert not end.load.warming_up
    assert end.load.texts == sum(interval.answers.texts for interval in first().run.intervals)
    assert end.load.elapsed_s == pytest.approx(12.0)


def test_the_engine_is_what_was_asked_for_and_ran_with_what_it_counted_then() -> None:
    engine = Replay(first()).at(7.5).engine
    assert (engine.requested.cell, engine.effective.cell) == ("onnx·fp32", "onnx·fp32")
    assert engine.rss_bytes == 418_700_000
    assert engine.cpu_cores == pytest.approx(1.62)
    assert (engine.pid, engine.address) == (0, "")


def test_errors_add_up_as_they_came(tmp_path: Path) -> None:
    run = stored(tmp_path, [second(0), second(1, errors={"UNAVAILABLE": 2}), second(2, errors={"UNAVAILABLE": 1})])
    replay = Replay(run)
    assert replay.at(1.5).load.errors == {}
    assert replay.at(3.0).load.errors == {"UNAVAILABLE": 3}


def test_a_second_without_answers_is_a_gap(tmp_path: Path) -> None:
    points = Replay(stored(tmp_path, [second(0), second(1, requests=0), second(2)])).at(3.0).points
    assert [point.texts_per_s for point in points] == [100, None, 100]


def test_events_come_when_they_came_also_over_midnight(tmp_path: Path) -> None:
    events = (
        ("23:59:50", "engine", "event", "ready"),
        ("23:59:58", "driver", "event", "load started: closed loop"),
        ("00:00:01", "driver", "warning", "requests fail: UNAVAILABLE"),
    )
    replay = Replay(stored(tmp_path, [second(at) for at in range(5)], events))
    assert [line.text for line in replay.at(2.9).log] == ["ready", "load started: closed loop"]
    assert len(replay.at(3.0).log) == 3


def test_a_switch_under_the_measurement_is_marked(tmp_path: Path) -> None:
    torch, onnx = ({"backend": name, "precision": "fp32"} for name in ("torch", "onnx"))
    seconds = [replace(second(at, epoch=1 + at // 2), deployments={"1": torch, "2": onnx}) for at in range(4)]
    replay = Replay(stored(tmp_path, seconds))
    assert replay.at(1.9).markers == ()
    assert [(marker.time_s, marker.label) for marker in replay.at(4.0).markers] == [(2.0, "torch·fp32 → onnx·fp32")]


def test_a_run_without_intervals_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(CommandRefused, match="r-1 has no stored interval"):
        Replay(stored(tmp_path, []))


def test_two_hours_are_sought_through_without_a_wait() -> None:
    intervals = tuple(replace(second(0), index=at, start_s=float(at), answers=answers([10.0], 4)) for at in range(7200))
    samples = tuple(EngineSample(float(at), 1, 0, 0, float(at), at, at, at, at) for at in range(7200))
    whole = first()
    replay = Replay(replace(whole, run=replace(whole.run, intervals=intervals, samples=samples)))
    assert replay.at(3600.0).load.requests == 3600
    assert replay.at(7200.0).window.texts_per_s == pytest.approx(4.0)


def test_a_playback_keeps_to_its_run_and_to_its_speeds() -> None:
    playback = Playback(30.0, 10.0)
    assert playback.advanced(1.2).position_s == 12.0
    assert playback.advanced(9.0).position_s == 30.0
    assert playback.sought(-5.0).position_s == 0.0
    assert playback.toggled().advanced(5.0).position_s == 0.0
    assert [playback.faster().speed, playback.slower().speed] == [20.0, 5.0]
    assert Playback(30.0, 60.0).faster().speed == 60.0
    assert Playback(30.0, 1.0).slower().speed == 1.0
    assert Playback(30.0, 7.0).faster().speed == 10.0


def test_a_replay_that_has_ended_begins_again() -> None:
    ended = Playback(30.0).sought(30.0)
    assert ended.ended
    assert ended.toggled() == Playback(30.0)
