"""The table: medians over rounds, ratios to the base, and the check of vectors."""

from typing import Any

import pytest

from benchmarks.peers.report import is_unlike_fp32, markdown, plotted, rows

BASE = "infinity onnx"


def sample(number: int, contender: str, texts_per_s: float | None, **other: Any) -> dict[str, Any]:
    usual = {"p50_ms": 4.0, "p95_ms": None, "requests": 9, "server_cpu_ms": 0.5, "client_cpu_ms": None, "rss_mb": 300.0}
    named = {"round": number, "contender": contender, "workload": "1x1-short", "texts_per_s": texts_per_s, "errors": {}}
    return {**usual, **named, **other}


def results(*samples: dict[str, Any], cosine: float = 1.0) -> dict[str, Any]:
    return {
        "workloads": ["1x1-short"],
        "contenders": {
            BASE: {"server": BASE, "fp32": True},
            "ours onnx int8 streamed": {"server": "ours onnx int8", "fp32": False},
        },
        "samples": list(samples),
        "starts": [{"round": 0, "server": "ours onnx int8", "ready_after_s": 0.5}],
        "cosines": {BASE: cosine, "ours onnx int8 streamed": 0.99},
        "failures": [],
    }


def test_figures_are_medians_and_ratios_are_of_the_same_round() -> None:
    found = rows(
        results(
            sample(0, BASE, 100.0), sample(1, BASE, 10.0), sample(2, BASE, 50.0),
            sample(0, "ours onnx int8 streamed", 400.0), sample(1, "ours onnx int8 streamed", 40.0),
            sample(2, "ours onnx int8 streamed", 200.0),
        ),
        BASE,
    )  # fmt: skip
    theirs, ours = found
    assert (theirs.texts_per_s, ours.texts_per_s) == (50.0, 200.0)
    assert ours.ratio is not None
    assert ours.ratio.value == pytest.approx(4.0)
    assert ours.ratio.rounds == 3
    assert ours.start_s == 0.5  # of the process it shares with the unary one


def test_a_round_in_which_one_side_failed_is_excluded_on_both_sides() -> None:
    found = rows(
        results(
            sample(0, BASE, 100.0),
            sample(0, "ours onnx int8 streamed", 500.0),
            sample(1, "ours onnx int8 streamed", 9.0, errors={"UNAVAILABLE": 3}),
        ),
        BASE,
    )
    assert found[1].ratio is not None
    assert found[1].ratio.value == pytest.approx(5.0)
    assert found[1].ratio.rounds == 1
    assert found[1].errors == 3


def test_only_an_fp32_contender_with_other_vectors_than_fp32_is_marked() -> None:
    found = rows(results(sample(0, BASE, 1.0), sample(0, "ours onnx int8 streamed", 1.0), cosine=0.33), BASE)
    assert [is_unlike_fp32(row) for row in found] == [True, False]
    assert [("!" in line) for line in markdown(found, BASE).splitlines()[2:]] == [True, False]


def test_every_row_has_every_column_even_if_nothing_was_measured() -> None:
    found = rows(results(sample(0, BASE, None, p50_ms=None), sample(0, "ours onnx int8 streamed", 3.0)), BASE)
    lines = markdown(found, BASE).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert "–" in lines[2]
    assert plotted(found) == []  # without a base there is no ratio to draw
