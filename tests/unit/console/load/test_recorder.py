"""The recorder: whole intervals, by epoch, errors apart from throughput."""

import pytest

from console.analysis.steady_state import percentiles
from console.load.calls import Reply, embed_reply
from console.load.recorder import Recorder
from engine.api import embed_pb2


class HandClock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def reply(epoch: int, infer_ms: float = 2.0) -> Reply:
    return embed_reply(
        embed_pb2.EmbedResponse(
            count=2,
            dim=1,
            vectors=bytes(8),
            epoch=epoch,
            deployment=embed_pb2.Deployment(backend="onnx", precision="fp32"),
            timings=embed_pb2.StageTimings(queue_ms=1, infer_ms=infer_ms),
            token_counts=[5, 6],
            truncated=[True, False],
        ),
        2,
    )


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def test_an_interval_holds_exactly_what_happened_since_the_last_cut(clock: HandClock) -> None:
    recorder = Recorder(clock, cpu_clock=lambda: (clock.now_s - 100.0) / 4)
    recorder.record_success(reply(1), 2, False, 100.0, 100.010)
    recorder.record_success(reply(1, infer_ms=4.0), 2, False, 100.0, 100.030)
    recorder.record_failure("INTERNAL", "poisoned")
    recorder.record_retry("UNAVAILABLE", "draining")
    clock.now_s = 101.0
    first = recorder.cut()
    assert (first.index, first.start_s, first.duration_s) == (0, 100.0, 1.0)
    assert (first.answers.requests, first.answers.texts, first.tokens, first.truncated) == (2, 4, 22, 2)
    assert first.errors == {"INTERNAL": 1}
    assert first.retries == 1
    assert first.cpu_cores == pytest.approx(0.25)
    assert first.stages_ms["infer"] == pytest.approx(3.0)
    assert (first.first_completion_s, first.last_completion_s) == (100.010, 100.030)
    assert percentiles([first.answers], certified=False).max_ms == pytest.approx(30, rel=0.01)
    clock.now_s = 102.0
    second = recorder.cut()
    assert (second.index, second.start_s, second.answers.requests, second.errors) == (1, 101.0, 0, {})
    assert (recorder.requests, recorder.texts) == (2, 4)


def test_samples_carry_the_epoch_that_answered_them(clock: HandClock) -> None:
    recorder = Recorder(clock)
    for epoch in (3, 3, 4):
        recorder.record_success(reply(epoch), 2, False, 100.0, 100.020)
    interval = recorder.cut()
    assert {epoch: part.requests for epoch, part in interval.epochs.items()} == {"3": 2, "4": 1}
    assert interval.answers.requests == 3
    assert interval.deployments["4"]["backend"] == "onnx"
    assert percentiles([interval.answers], certified=False).n == 3


def test_pairs_count_two_texts_each(clock: HandClock) -> None:
    recorder = Recorder(clock)
    recorder.record_success(reply(1), 2, True, 100.0, 100.020)
    interval = recorder.cut()
    assert (interval.pairs, interval.answers.texts) == (2, 4)
