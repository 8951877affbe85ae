"""Every limit is an option of `engine serve`, and limits that contradict each other are refused at the start."""

from dataclasses import fields
from typing import Any

import pytest

from engine import cli
from engine.api import embed_pb2
from engine.doors.embed_v1.wire import limits_message
from engine.doors.limits import EngineLimits
from engine.errors import InvalidRequest
from engine.server.limits import limits_from
from engine.tuning.plan import BatchLimits, BatchOverrides


def flags(*words: str) -> dict[str, Any]:
    return dict(cli.serve.make_context("serve", list(words)).params)


def test_the_defaults_of_the_options_are_those_of_the_limits() -> None:
    assert limits_from(flags()) == EngineLimits()


def test_every_limit_can_be_read_from_the_status_and_is_never_unlimited() -> None:
    message = limits_message(EngineLimits())
    assert {field.name for field, _ in message.ListFields()} == set(embed_pb2.Limits.DESCRIPTOR.fields_by_name)
    parts = (getattr(EngineLimits(), part.name) for part in fields(EngineLimits))
    numbers = sum(len(fields(part)) for part in parts)
    assert len(embed_pb2.Limits.DESCRIPTOR.fields) >= numbers - 1  # a limit in seconds may be published elsewhere


def test_a_limit_that_is_set_is_the_one_in_the_status() -> None:
    message = limits_message(limits_from(flags("--max-texts", "7", "--max-queued-tokens", "99")))
    assert (message.max_texts_per_request, message.max_queued_tokens) == (7, 99)


def test_the_largest_message_follows_the_limit_of_a_request() -> None:
    assert limits_from(flags("--max-request-bytes", "1000")).wire.max_message_bytes > 1000


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--max-message-bytes", "1000"), "must be larger than --max-request-bytes"),
        (("--max-decoded-bytes", "1000"), "could never be answered"),
    ],
)
def test_limits_that_contradict_each_other_are_refused(words: tuple[str, ...], expected: str) -> None:
    with pytest.raises(InvalidRequest, match=expected):
        limits_from(flags(*words))


@pytest.mark.parametrize(
    "overrides",
    [
        BatchOverrides(max_batch_items=2**32 - 1),
        BatchOverrides(max_batch_tokens=2**32 - 1),
        BatchOverrides(max_wait_s=1.1),
        BatchOverrides(max_wait_s=float("nan")),
        BatchOverrides(max_wait_s=-1.0),
    ],
)
def test_absurd_batching_options_are_refused(overrides: BatchOverrides) -> None:
    with pytest.raises(InvalidRequest, match="out of range"):
        overrides.check(BatchLimits())
