"""The bottleneck of a load, in one sentence."""

import pytest

from console.analysis.bottleneck import ObservedLoad, find_bottleneck
from console.model.load import Stages


def named(stages: Stages, **more: float) -> tuple[str, float, str]:
    found = find_bottleneck(ObservedLoad(stages, **{"batch": 1, **more}))  # type: ignore[arg-type]  # numbers by name
    assert found is not None
    return found.stage, found.share, found.sentence


def test_the_stage_that_takes_most_is_named_with_its_share_and_the_batch() -> None:
    stage, share, sentence = named(Stages(0.1, 0.41, 0.39, 0.1))
    assert stage == "tokenize"
    assert share == pytest.approx(0.41)
    assert sentence == "tokenize is 41% of server time at batch 1"


def test_a_queue_is_named_with_the_stage_that_it_waits_for() -> None:
    stage, _, sentence = named(Stages(60.0, 4.0, 35.0, 1.0), batch=32, engine_cpu_cores=1.96, cores=2)
    assert stage == "queue"
    assert sentence == (
        "queue is 60% of server time at batch 32: requests wait for infer, 88% of the work;"
        " the engine uses 2.0 of 2 cores"
    )


def test_time_outside_the_server_is_named_where_it_is_the_larger_part() -> None:
    stage, share, sentence = named(Stages(0.1, 0.1, 0.7, 0.1), client_mean_ms=3.0)
    assert stage == "transport"
    assert share == pytest.approx(2 / 3)
    assert "67% of the client's time at batch 1 is outside the server" in sentence


def test_time_outside_the_server_is_mentioned_from_a_quarter_on() -> None:
    stages = Stages(3.5, 0.1, 13.8, 0.1)
    assert "33% of the client's 26.1 ms is outside these stages" in named(stages, client_mean_ms=26.1)[2]
    assert "outside" not in named(stages, client_mean_ms=20.0)[2]


def test_padding_and_competition_for_cores_are_mentioned_above_their_limits() -> None:
    _, _, sentence = named(
        Stages(0.1, 0.1, 5.0, 0.1), padding_ratio=0.31, engine_cpu_cores=1.3, client_cpu_cores=0.6, cores=2
    )
    assert "31% of the tokens it runs are padding" in sentence
    assert "the load generator 0.6: they compete" in sentence
    assert "padding" not in named(Stages(0.1, 0.1, 5.0, 0.1), padding_ratio=0.08)[2]


def test_nothing_is_named_where_nothing_ran() -> None:
    assert find_bottleneck(ObservedLoad(Stages(), 1)) is None


def test_a_load_generator_without_cpu_use_does_not_compete() -> None:
    found = find_bottleneck(
        ObservedLoad(stages=Stages(infer_ms=10.0), batch=1, engine_cpu_cores=1.69, client_cpu_cores=0.02, cores=2)
    )
    assert found is not None
    assert "compete" not in found.sentence
