"""A message that is malformed is refused, and what can be read of it tells which one it was."""

import pytest
from google.protobuf.descriptor import Descriptor

from engine.api import embed_pb2
from engine.doors.decoding import MessageDecoder, leading_id
from engine.errors import InvalidRequest

GOOD = embed_pb2.StreamRequest(id=77, request=embed_pb2.EmbedRequest(texts=["abc"]))


def test_a_good_message_is_decoded() -> None:
    assert MessageDecoder(embed_pb2.StreamRequest).decode(GOOD.SerializeToString()) == GOOD


@pytest.mark.parametrize("letters", [b"\xff\xfe\xfd", b"\xed\xa0\x80"], ids=["no UTF-8", "a surrogate"])
def test_a_text_that_is_not_utf_8_is_refused_and_the_id_is_still_read(letters: bytes) -> None:
    raw = GOOD.SerializeToString().replace(b"abc", letters)
    with pytest.raises(InvalidRequest, match="not UTF-8"):
        MessageDecoder(embed_pb2.StreamRequest).decode(raw)
    assert leading_id(raw) == 77


@pytest.mark.parametrize("raw", [b"\xff" * 20, b"\x0a\xff\xff\xff\xff\x0f", b"\x07"])
def test_garbage_is_refused_and_has_no_id(raw: bytes) -> None:
    with pytest.raises(InvalidRequest, match="not a valid EmbedRequest"):
        MessageDecoder(embed_pb2.EmbedRequest).decode(raw)
    assert leading_id(raw) == 0


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (embed_pb2.EmbedRequest(texts=["x"], dtype=9), "unknown dtype: set FLOAT32 or FLOAT16"),  # type: ignore[arg-type]
        (embed_pb2.EmbedRequest(texts=["x"], truncate=9), "unknown truncate: set END or ERROR"),  # type: ignore[arg-type]
        (embed_pb2.EmbedRequest(texts=["x"], truncate=-1), "unknown truncate: set END or ERROR"),  # type: ignore[arg-type]
        (
            embed_pb2.StreamRequest(request=embed_pb2.EmbedRequest(texts=["x"], truncate=9)),  # type: ignore[arg-type]
            "unknown truncate: set END or ERROR",
        ),
    ],
)
def test_an_unknown_value_of_an_enum_is_refused_in_nested_messages_too(
    request_: embed_pb2.EmbedRequest | embed_pb2.StreamRequest, expected: str
) -> None:
    decoder: MessageDecoder[embed_pb2.EmbedRequest | embed_pb2.StreamRequest] = MessageDecoder(type(request_))
    with pytest.raises(InvalidRequest, match=expected):
        decoder.decode(request_.SerializeToString())


def test_no_request_repeats_a_message_with_an_enum_which_would_go_unchecked() -> None:
    def has_enum(descriptor: Descriptor) -> bool:
        return any(
            one.enum_type is not None or (one.message_type is not None and has_enum(one.message_type))
            for one in descriptor.fields
        )

    for service in embed_pb2.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            for field in method.input_type.fields:
                kind = field.message_type
                assert not (field.is_repeated and (field.enum_type or (kind is not None and has_enum(kind))))
