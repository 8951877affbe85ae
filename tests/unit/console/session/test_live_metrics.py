"""Live metrics and the effect of a switch, from synthetic intervals."""

import pytest

from console.load.protocol import Tick
from console.session.live_metrics import EngineSample, LiveMetrics, batches_between
from console.session.switch_delta import SwitchTimes, measure_delta
from tests.unit.console.support.intervals import second

TIMES = SwitchTimes(1, "torch·fp32 → onnx·fp32", 20.0, 21.0, 21.5, steady_since_s=3.0)


def sample(time_s: float, batches: int = 0, rss_bytes: int = 100) -> EngineSample:
    return EngineSample(time_s, rss_bytes, 7, 4, 0.0, batches, 8 * batches, 80 * batches, 100 * batches)


def loaded(seconds: int, requests: int = 100) -> LiveMetrics:
    metrics = LiveMetrics()
    metrics.load_started(0.0)
    for index in range(seconds):
        for tenth in range(10):
            time_s = index + (tenth + 1) / 10
            metrics.tick(Tick(time_s, int(requests * time_s), int(4 * requests * time_s)))
        metrics.sample(sample(index + 1.0, batches=10 * index))
        metrics.interval(second(index, requests, texts_each=4))
    return metrics


def test_throughput_follows_the_ticks_of_the_last_five_seconds() -> None:
    metrics = loaded(12)
    assert metrics.window().texts_per_s == pytest.approx(400, rel=0.01)
    metrics.tick(Tick(12.1, 1200, 4800))
    slower = metrics.window().texts_per_s
    assert slower is not None
    assert slower < 399


def test_percentiles_are_merged_over_the_window_with_their_n() -> None:
    window = loaded(12).window()
    assert window.latency.n == 500
    assert window.latency.p50_ms == pytest.approx(10, rel=0.01)
    assert window.client_server_gap_ms == pytest.approx(2.0, rel=0.05)


def test_trend_compares_with_the_window_before_and_best_leaves_the_warm_up_out() -> None:
    assert loaded(4).window().trend is None
    assert loaded(4).window().best_texts_per_s is None
    window = loaded(12).window()
    assert window.trend == pytest.approx(0, abs=0.02)
    assert window.best_texts_per_s == pytest.approx(400, rel=0.02)


def test_batch_fill_and_padding_come_from_the_engine_s_own_counters() -> None:
    window = loaded(12).window()
    assert window.mean_batch_items == pytest.approx(8)
    assert window.mean_batch_tokens == pytest.approx(100)
    assert window.padding_ratio == pytest.approx(0.2)
    assert batches_between(sample(1, 50), sample(2, 10)).mean_items is None  # a restarted engine counts from 0


def test_a_second_without_answers_and_a_second_without_load_are_gaps() -> None:
    metrics = loaded(3)
    metrics.interval(second(3, requests=0, errors={"UNAVAILABLE": 5}))
    metrics.gap(5.0)
    assert [point.texts_per_s for point in metrics.points] == [400, 400, 400, None, None]
    assert metrics.points_version == 5
    metrics.load_stopped()
    assert metrics.window().texts_per_s is None


def test_the_ring_keeps_ten_minutes() -> None:
    metrics = LiveMetrics()
    metrics.load_started(0.0)
    metrics.interval(second(0))
    for index in range(1, 700):
        metrics.gap(index + 1.0)
    assert len(metrics.points) == 600
    assert metrics.points[-1].time_s == 700


@pytest.mark.parametrize(("busy_s", "expected"), [(9, False), (10, True)])
def test_the_driver_is_the_bottleneck_after_ten_seconds_over_ninety_percent(busy_s: int, expected: bool) -> None:
    metrics = LiveMetrics()
    metrics.load_started(0.0)
    for index in range(busy_s):
        metrics.interval(second(index, cpu_cores=0.95))
    assert metrics.saturated() is expected


def test_a_switch_is_judged_by_steady_seconds_and_cuts_the_first_five_after_it() -> None:
    before = [second(index, 100, latency_ms=20) for index in range(20)]
    settling = [second(index, 500) for index in range(21, 26)]
    after = [second(index, 120, latency_ms=10) for index in range(26, 37)]
    delta = measure_delta(TIMES, 36.5, [*before, *settling, *after], [sample(19, rss_bytes=200), sample(30)])
    assert delta.settled
    assert delta.texts_per_s is not None
    assert delta.texts_per_s.relative == pytest.approx(0.2)
    assert delta.p95_ms is not None
    assert delta.p95_ms.relative == pytest.approx(-0.5, abs=0.01)
    assert delta.p99_ms is not None
    assert delta.rss_bytes is not None
    assert delta.rss_bytes.relative == pytest.approx(-0.5)
    assert delta.verdict == "faster"
    assert delta.took_s == pytest.approx(1.5)


def test_a_switch_counts_the_errors_between_its_request_and_its_release() -> None:
    during = second(20, errors={"INTERNAL": 3})
    assert measure_delta(TIMES, 22.0, [second(19, errors={"INTERNAL": 9}), during], []).errors == 3


def test_a_switch_has_not_settled_before_its_seconds_are_gathered() -> None:
    delta = measure_delta(TIMES, 30.0, [second(index) for index in range(30)], [])
    assert not delta.settled
    assert delta.settling_left_s == pytest.approx(6.0)
    assert delta.verdict == ""


def test_a_switch_without_load_says_so_and_one_disturbed_ends_early() -> None:
    assert measure_delta(TIMES, 40.0, [], []).verdict == "no load"
    changed_again = measure_delta(TIMES, 23.0, [second(index) for index in range(22)], [], changed_again_s=22.0)
    assert changed_again.settled
    assert changed_again.verdict == "changed again before it settled"


def test_warm_up_and_a_load_changed_before_the_switch_are_not_its_before() -> None:
    span = SwitchTimes(1, "", 20.0, 21.0, 21.5, steady_since_s=18.0)
    intervals = [second(i, 1000) for i in range(18)] + [second(i) for i in range(18, 20)]
    intervals += [second(i) for i in range(26, 37)]
    delta = measure_delta(span, 36.5, intervals, [])
    assert delta.texts_per_s is not None
    assert delta.texts_per_s.before == pytest.approx(100)
    assert delta.p95_ms is not None
    assert delta.p99_ms is None
