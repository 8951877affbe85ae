"""The choice of contenders and workloads, and the batches of the backend without a server."""

import pytest

from benchmarks.peers.contenders import BASE, PEERS, Contender, choose
from benchmarks.peers.windows import batches
from benchmarks.peers.workloads import WORKLOADS, Workload, parse_workloads

EVERY = (
    *PEERS,
    Contender("ours", "onnx int8", fp32=False),
    Contender("ours", "onnx int8", streamed=True, fp32=False),
    Contender("ours", "onnx int8 dynamic", fp32=False, usual=False),
)


def names(only: str) -> list[str]:
    return [one.name for one in choose(EVERY, only, BASE)]


def test_the_base_always_takes_part() -> None:
    assert names("streamed") == [BASE, "ours onnx int8 streamed"]


def test_without_a_choice_all_the_default_ones_take_part() -> None:
    assert names("") == ["encode", "infinity torch", BASE, "ours onnx int8", "ours onnx int8 streamed"]


def test_a_cell_that_is_not_a_default_takes_part_when_it_is_named_in_full() -> None:
    assert names("onnx int8") == [BASE, "ours onnx int8", "ours onnx int8 streamed"]
    assert names("onnx int8 dynamic") == [BASE, "ours onnx int8 dynamic"]


@pytest.mark.parametrize(("only", "base"), [("vllm", BASE), ("", "vllm")])
def test_an_unknown_name_is_refused_with_the_known_names(only: str, base: str) -> None:
    with pytest.raises(ValueError, match=r"vllm.*infinity torch"):
        choose(EVERY, only, base)


def test_workloads_are_parsed_from_their_names() -> None:
    assert parse_workloads("32x4-short, 1x256-mixed") == (Workload(32, 4, "short"), Workload(1, 256, "mixed"))
    assert [one.name for one in parse_workloads("1x32")] == ["1x32-short", "1x32-mixed", "1x32-long"]
    assert {one.corpus for one in parse_workloads("long")} == {"long"}
    assert parse_workloads("") == WORKLOADS
    assert len(WORKLOADS) == 18


@pytest.mark.parametrize("words", ["32*4", "0x4-short", "32x4-tiny", "short-32x4"])
def test_an_invalid_workload_is_refused_with_the_expected_format(words: str) -> None:
    with pytest.raises(ValueError, match="write 32x4-short"):
        parse_workloads(words)


def test_the_backend_without_a_server_gets_every_text_in_flight_once_sorted_by_length() -> None:
    texts = [[n] * (1 + n * 7 % 40) for n in range(128)]
    found = batches(texts, in_flight=64, instances=2)
    assert sorted(tuple(text) for batch in found for text in batch) == sorted(tuple(text) for text in texts)
    assert [len(batch) for batch in found] == [32, 32, 32, 32]
    lengths = [len(text) for batch in found[:2] for text in batch]
    assert lengths == sorted(lengths)


@pytest.mark.parametrize(("in_flight", "instances", "sizes"), [(1, 2, [1]), (8, 2, [4, 4]), (32, 2, [16, 16])])
def test_few_texts_in_flight_are_shared_between_the_instances(in_flight: int, instances: int, sizes: list[int]) -> None:
    assert [len(batch) for batch in batches([[1, 2]] * in_flight, in_flight, instances)] == sizes


def test_the_backend_without_a_server_respects_the_token_budget_of_the_engine() -> None:
    found = batches([[1] * 256] * 256, in_flight=256, instances=2)
    assert max(len(batch) for batch in found) == 16
