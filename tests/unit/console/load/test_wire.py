"""The load generator's messages on the wire and on its pipes."""

import pytest

from console.load.attempts import UNAVAILABLE_ATTEMPTS, retry_pause_s
from console.load.calls import CallFailed, Requests, embed_reply, similarity_reply, stream_request
from console.load.protocol import (
    Change,
    Changed,
    Command,
    Event,
    Ready,
    Refused,
    Start,
    Started,
    Stop,
    Stopped,
    Tick,
    decode_command,
    decode_event,
    encode_command,
    encode_event,
)
from console.model.load import LoadSpec
from engine.api import embed_pb2
from tests.unit.console.support.intervals import second


def test_joined_pieces_are_the_request_that_protobuf_would_have_built() -> None:
    requests = Requests(["one", "zwei ä", "", "four"], "texts")
    parsed = embed_pb2.EmbedRequest.FromString(requests.take(3))
    assert parsed == embed_pb2.EmbedRequest(texts=["one", "zwei ä", ""])


@pytest.mark.parametrize("size", [1, 3, 4, 9])
def test_requests_wrap_round_the_corpus_without_losing_a_text(size: int) -> None:
    texts = ["a", "b", "c", "d"]
    requests = Requests(texts, "texts")
    taken = [text for _ in range(8) for text in embed_pb2.EmbedRequest.FromString(requests.take(size)).texts]
    assert taken == (texts * 20)[: 8 * size]


def test_pairs_hold_two_neighbouring_texts() -> None:
    request = embed_pb2.SimilarityRequest.FromString(Requests(["a", "b", "c"], "pairs").take(3))
    assert [(pair.text_a, pair.text_b) for pair in request.pairs] == [("a", "b"), ("b", "c"), ("c", "a")]


@pytest.mark.parametrize("length", [0, 1, 100, 127, 128, 20_000, 3_000_000])
def test_a_stream_message_wraps_a_serialised_request_of_any_length(length: int) -> None:
    body = embed_pb2.EmbedRequest(texts=["x" * length])
    parsed = embed_pb2.StreamRequest.FromString(stream_request(7, body.SerializeToString(), 30_000))
    assert (parsed.id, parsed.timeout_ms, parsed.request) == (7, 30_000, body)


def test_a_reply_of_the_wrong_count_or_length_is_bad_and_never_throughput() -> None:
    good = embed_pb2.EmbedResponse(count=2, dim=3, vectors=bytes(24), token_counts=[4, 5], truncated=[False, True])
    reply = embed_reply(good, 2)
    assert (reply.tokens, reply.truncated) == (9, 1)
    for bad in (
        embed_pb2.EmbedResponse(count=1, dim=3, vectors=bytes(12)),
        embed_pb2.EmbedResponse(count=2, dim=3, vectors=bytes(20)),
        embed_pb2.EmbedResponse(count=2),
    ):
        with pytest.raises(CallFailed, match="requested 2 vectors"):
            embed_reply(bad, 2)
    with pytest.raises(CallFailed, match="requested 2 scores, got 1"):
        similarity_reply(embed_pb2.SimilarityResponse(scores=[1.0]), 2)


def test_only_transient_errors_are_retried_after_the_delay_that_the_engine_gives() -> None:
    assert retry_pause_s(CallFailed("RESOURCE_EXHAUSTED", "", retry_after_s=0.7), attempt=9) == 0.7
    assert retry_pause_s(CallFailed("RESOURCE_EXHAUSTED", ""), attempt=1) is None
    assert retry_pause_s(CallFailed("INVALID_ARGUMENT", ""), attempt=1) is None
    assert retry_pause_s(CallFailed("DEADLINE_EXCEEDED", ""), attempt=1) is None
    pauses = [retry_pause_s(CallFailed("UNAVAILABLE", ""), attempt) for attempt in range(1, UNAVAILABLE_ATTEMPTS)]
    assert all(pauses)
    assert pauses == sorted(pauses, key=lambda pause: pause or 0.0)
    assert retry_pause_s(CallFailed("UNAVAILABLE", ""), UNAVAILABLE_ATTEMPTS) is None


@pytest.mark.parametrize(
    "event",
    [
        Ready(4),
        Started(1.5, "short", 4096, LoadSpec(8, 2), 7),
        Changed(1.5, 4096, LoadSpec(8, rate=3.0), 8),
        Refused("no such file", 9),
        Stopped(2.0, 10, 320, {"UNAVAILABLE": 2}, 1),
        Tick(1.0, 2, 3, 4, 5, 6),
        second(3, errors={"INTERNAL": 2}),
        second(4, requests=0),
    ],
)
def test_every_event_survives_the_pipe(event: Event) -> None:
    line = encode_event(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert decode_event(line) == event


@pytest.mark.parametrize("command", [Start("127.0.0.1:1", LoadSpec(8, 2), 1024, 7), Change(LoadSpec(1, 32), 8), Stop()])
def test_every_command_survives_the_pipe(command: Command) -> None:
    assert decode_command(encode_command(command)) == command


@pytest.mark.parametrize("line", [b"", b"not json", b"[]", b'{"event":"nope"}', b'{"event":"tick","bogus":1}'])
def test_a_line_that_is_no_event_is_refused_as_a_value_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode_event(line)
