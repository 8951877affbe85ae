"""Decodes request messages in the engine's code, so that a malformed message is an error like any other.

gRPC's own deserialisation ends the call with UNKNOWN, uncounted, and on a stream it ends the whole stream.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Generic, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from engine.errors import InvalidRequest

Decoded = TypeVar("Decoded", bound=Message)

_VARINT = 0


class MessageDecoder(Generic[Decoded]):
    """Decodes messages of one type, and refuses values of enums that the API does not have."""

    def __init__(self, kind: type[Decoded]) -> None:
        self._parse = kind.FromString
        self._name = kind.DESCRIPTOR.name
        self._enums = _enum_fields(kind.DESCRIPTOR)

    def decode(self, raw: bytes) -> Decoded:
        """Returns the message. Raises InvalidRequest, without a part of the message in it."""
        try:
            message = self._parse(raw)
        except DecodeError as error:
            raise InvalidRequest(
                f"the message is not a valid {self._name}: it is damaged, or a string in it is not UTF-8: "
                "build it with a client generated from proto/embed/v1/embed.proto"
            ) from error
        for value_of, known, refusal in self._enums:
            if value_of(message) not in known:
                raise InvalidRequest(refusal)
        return message


def leading_id(raw: bytes) -> int:
    """Returns field 1 of a message that cannot be decoded, if it is an integer that can still be read; otherwise 0."""
    try:
        fields: Any = UnknownFieldSet(Empty.FromString(raw))  # iterable, which its stubs do not say
    except DecodeError:
        return 0
    return next((int(one.data) for one in fields if one.field_number == 1 and one.wire_type == _VARINT), 0)


def _enum_fields(descriptor: Any, prefix: str = "") -> tuple[tuple[Callable[[Any], int], frozenset[int], str], ...]:
    """Returns for each enum field, also in nested messages: how to get its value, the known values, the refusal."""
    # `Any`, because the two implementations of protobuf have different types.
    found: list[tuple[Callable[[Any], int], frozenset[int], str]] = []
    for field in descriptor.fields:
        if field.is_repeated:
            continue  # no request repeats an enum, or a message with one
        if field.type == FieldDescriptor.TYPE_ENUM:
            names = " or ".join(value.name for value in field.enum_type.values)
            known = frozenset(value.number for value in field.enum_type.values)
            found.append((attrgetter(prefix + field.name), known, f"unknown {field.name}: set {names}"))
        elif field.type == FieldDescriptor.TYPE_MESSAGE and field.message_type is not descriptor:
            found.extend(_enum_fields(field.message_type, f"{prefix}{field.name}."))
    return tuple(found)
