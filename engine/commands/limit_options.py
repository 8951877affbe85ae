"""The options of `engine serve` for its limits. Imports nothing of the engine, so that `--help` stays fast.

A test compares the defaults with those of `engine.doors.limits.EngineLimits`.
"""

from collections.abc import Callable
from typing import Any

import click
from cloup import option, option_group

_MIB = 1024 * 1024


def _limit(flag: str, default: int, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return option(flag, type=click.IntRange(1, 2**31 - 1), default=default, show_default=True, metavar="N", help=text)


LIMIT_OPTIONS = option_group(
    "Limits of what clients control",
    _limit("--max-texts", 2048, "Texts of a request; a pair counts two."),
    _limit("--max-text-bytes", 128 * 1024, "UTF-8 bytes of a text."),
    _limit("--max-text-chars", 128 * 1024, "Characters of a text."),
    _limit("--max-request-bytes", 8 * _MIB, "UTF-8 bytes of all texts of a request."),
    _limit("--max-response-bytes", 32 * _MIB, "Bytes of the vectors of a response: texts × dimensions × 4, or × 2."),
    option(
        "--max-message-bytes",
        type=click.IntRange(1, 2**31 - 1),
        default=None,
        metavar="N",
        help="Bytes of an encoded request.  [default: --max-request-bytes and 1 MiB]",
    ),
    _limit("--max-decoded-bytes", 128 * _MIB, "Bytes of the messages over 64 KiB of all unanswered calls."),
    _limit("--max-requests-in-flight", 10_000, "Unanswered requests of all clients."),
    _limit("--max-streams-per-connection", 10_000, "Concurrent calls of a connection; others wait in the client."),
    _limit("--max-queued-items", 10_000, "Unanswered texts of all clients."),
    _limit("--max-queued-bytes", 64 * _MIB, "UTF-8 bytes of texts that are not tokenized yet."),
    _limit("--max-queued-tokens", 2_000_000, "Tokens of unanswered texts."),
    _limit("--limit-batch-tokens", 1 << 20, "The largest --max-batch-tokens, which Control.Configure can set too."),
    _limit("--limit-batch-items", 16_384, "The largest --max-batch-items, which Control.Configure can set too."),
)
