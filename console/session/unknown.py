"""Detection of enum values that this console does not know. Each one is logged once."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from google.protobuf.message import Message


def unknown_enums(message: Message) -> Iterator[tuple[str, int]]:
    """Yields the enum's name and the number of every unknown value in the message and its submessages."""
    for field, value in message.ListFields():
        enum, inner = field.enum_type, field.message_type
        values: Iterable[Any] = (value,) if isinstance(value, (int, Message)) else value
        if enum is not None:
            yield from ((enum.name, number) for number in values if number not in enum.values_by_number)
        elif inner is not None and not inner.GetOptions().map_entry:
            for one in values:
                yield from unknown_enums(one)


class UnknownEnums:
    """Checks the messages of an engine. `log` is called with one sentence when a value is first seen."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._reported: set[tuple[str, int]] = set()

    def check(self, message: Message) -> None:
        """Logs the unknown values of the message that were not logged before."""
        for name, number in unknown_enums(message):
            if (name, number) not in self._reported:
                self._reported.add((name, number))
                self._log(f"the engine sent {name} {number}, which this console does not know: update the console")
