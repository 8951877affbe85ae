"""The log repeats itself at a limited rate, and tells how much was left out."""

import logging

from engine.host.log_limit import INTERVAL_S, MAX_RECORDS, RepetitionLimit


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def record(message: str, *arguments: object, name: str = "engine") -> logging.LogRecord:
    return logging.LogRecord(name, logging.WARNING, "file.py", 1, message, arguments, None)


def test_a_flood_of_one_kind_is_cut_and_counted_afterwards() -> None:
    clock = Clock()
    limit = RepetitionLimit(clock)
    passed = [limit.filter(record("refused %s", number)) for number in range(1000)]
    assert passed == [True] * MAX_RECORDS + [False] * (1000 - MAX_RECORDS)
    clock.now_s += INTERVAL_S
    following = record("refused %s", "again")
    assert limit.filter(following)
    assert following.getMessage().startswith("refused again")
    assert f"{1000 - MAX_RECORDS} more" in following.getMessage()


def test_other_kinds_are_not_held_back_by_a_flood() -> None:
    limit = RepetitionLimit(Clock())
    for _ in range(1000):
        limit.filter(record("refused %s", 1))
    assert limit.filter(record("internal error"))
    assert limit.filter(record("refused %s", 1, name="grpc"))


def test_kinds_without_number_take_bounded_memory() -> None:
    limit = RepetitionLimit(Clock())
    for number in range(5000):
        limit.filter(record(f"refused {number}"))
    assert len(limit._kinds) <= 1000
