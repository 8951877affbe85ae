"""Argument types of the benchmarks' command lines."""

import argparse
from collections.abc import Callable
from typing import Any


def positive(kind: type[int] | type[float]) -> Callable[[str], Any]:
    """Returns an argparse type for numbers above 0."""

    def convert(word: str) -> float:
        number = kind(word)
        if number <= 0:
            raise argparse.ArgumentTypeError(f"{word} is not above 0")
        return number

    return convert
