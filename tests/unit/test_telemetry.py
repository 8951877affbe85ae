"""Stages are told as exactly as their histograms can, however they were counted meanwhile."""

import random

from hdrh.histogram import HdrHistogram

from engine.telemetry import MAX_TRACKED_US, SIGNIFICANT_FIGURES, StageHistogram


def test_stage_times_are_encoded_as_if_each_had_been_recorded_at_once() -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    expected = HdrHistogram(1, MAX_TRACKED_US, SIGNIFICANT_FIGURES)
    stage = StageHistogram()
    total_us = 0.0
    for reader in range(3):  # a reader in between loses nothing and doubles nothing
        for _ in range(2_000):
            duration_us = chance.choice([0.2, 1.0, 255.0, 256.0, 10 ** chance.uniform(0, 9)])
            total_us += duration_us
            stage.record(duration_us / 1e6)
            expected.record_value(min(max(int(duration_us / 1e6 * 1e6), 1), MAX_TRACKED_US))
        decoded = HdrHistogram.decode(stage.encoded())
        assert decoded.get_total_count() == stage.count == 2_000 * (reader + 1)
        for percentile in (0, 1, 10, 50, 90, 95, 99, 99.9, 100):
            assert decoded.get_value_at_percentile(percentile) == expected.get_value_at_percentile(percentile)
        assert abs(stage.sum_us - total_us) < 1.0
