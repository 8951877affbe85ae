"""Enum values that a newer engine knows and this console does not: each one is said once in the log."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from google.protobuf.message import Message


def unknown_enums(message: Message) -> Iterator[tuple[str, int]]:
    """The enum's name and the number of every such value in the message and in the messages inside it."""
    for field, value in message.ListFields():
        enum, inner = field.enum_type, field.message_type
        values: Iterable[Any] = (value,) if isinstance(value, (int, Message)) else value
        if enum is not None:
            yield from ((enum.name, number) for number in values if number not in enum.values_by_number)
        elif inner is not None and not inner.GetOptions().map_entry:
            for one in values:
                yield from unknown_enums(one)


class UnknownEnums:
    """Looks through every message of an engine. `log`: takes one sentence for each value, the first time it is seen."""

    def __init__(self, log: Callable[[str], None]) -> None:
        self._log = log
        self._said: set[tuple[str, int]] = set()

    def look(self, message: Message) -> None:
        """Logs what is new in the message."""
        for name, number in unknown_enums(message):
            if (name, number) not in self._said:
                self._said.add((name, number))
                self._log(f"the engine says {name} {number}, which this console does not know: update the console")
