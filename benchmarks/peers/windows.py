"""Batches for the backend without a server, as a perfect scheduler would form them. Pure functions."""

import math
from collections.abc import Sequence
from itertools import islice

from engine.scheduling.contract import BatchPolicy

_POLICY = BatchPolicy()
"""The default batch limits of the engine."""


def batches(texts: Sequence[Sequence[int]], in_flight: int, instances: int) -> list[list[Sequence[int]]]:
    """Splits token ids into windows of `in_flight` texts, sorts each by length, and divides it between the instances.

    Each text is in one batch. The last window is dropped if it is shorter, unless it is the only one.
    """
    remaining = iter(texts)
    windows: list[list[Sequence[int]]] = []
    while window := list(islice(remaining, in_flight)):
        if len(window) == in_flight or not windows:
            windows.append(sorted(window, key=len))
    return [batch for window in windows for batch in _shares(window, instances)]


def busy_instances(in_flight: int, instances: int) -> int:
    """Returns the number of instances that get a batch."""
    return min(instances, in_flight)


def _shares(window: list[Sequence[int]], instances: int) -> list[list[Sequence[int]]]:
    passes = max(math.ceil(len(window) / _POLICY.max_batch_items), busy_instances(len(window), instances))
    size = max(1, min(math.ceil(len(window) / passes), _POLICY.max_batch_tokens // len(window[-1])))
    return [window[start : start + size] for start in range(0, len(window), size)]
