"""The limits of an engine from the options of `engine serve`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from engine.doors.inbound import WireLimits
from engine.doors.limits import EngineLimits
from engine.errors import InvalidRequest
from engine.pipeline.embedding import RequestLimits
from engine.tuning.plan import BatchLimits

MESSAGE_OVERHEAD_BYTES = 1024 * 1024
"""Bytes of an encoded request besides its texts, above what 2,048 texts need. Also the margin in which a request over
the limit of its texts gets the engine's error message and not gRPC's. Chosen."""


def limits_from(flags: Mapping[str, Any]) -> EngineLimits:
    """Returns the limits. Raises InvalidRequest if they contradict each other."""
    request_bytes = flags["max_request_bytes"]
    message_bytes = flags["max_message_bytes"] or request_bytes + MESSAGE_OVERHEAD_BYTES
    if message_bytes <= request_bytes:
        raise InvalidRequest(
            f"--max-message-bytes {message_bytes} must be larger than --max-request-bytes {request_bytes}: "
            "leave it out, or lower --max-request-bytes"
        )
    if flags["max_decoded_bytes"] < message_bytes:
        raise InvalidRequest(
            f"--max-decoded-bytes {flags['max_decoded_bytes']} is smaller than a message of {message_bytes} bytes, "
            "which could never be answered: raise it, or lower --max-request-bytes"
        )
    defaults = EngineLimits()
    return EngineLimits(
        request=RequestLimits(
            max_texts=flags["max_texts"],
            max_text_bytes=flags["max_text_bytes"],
            max_text_chars=flags["max_text_chars"],
            max_request_bytes=request_bytes,
            max_response_bytes=flags["max_response_bytes"],
            max_requests_in_flight=flags["max_requests_in_flight"],
        ),
        queue=replace(
            defaults.queue,
            max_queued_items=flags["max_queued_items"],
            max_queued_bytes=flags["max_queued_bytes"],
            max_queued_tokens=flags["max_queued_tokens"],
        ),
        wire=WireLimits(message_bytes, flags["max_decoded_bytes"], flags["max_streams_per_connection"]),
        batching=BatchLimits(flags["limit_batch_tokens"], flags["limit_batch_items"]),
    )
