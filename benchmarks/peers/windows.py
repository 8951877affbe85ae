"""How the bare backend is fed: what a perfect scheduler would make of the texts in flight. Pure."""

import math
from collections.abc import Sequence
from itertools import islice

from engine.scheduling.contract import BatchPolicy

_POLICY = BatchPolicy()
"""The engine's own bounds of a batch."""


def batches(texts: Sequence[Sequence[int]], in_flight: int, instances: int) -> list[list[Sequence[int]]]:
    """Token ids cut into windows of `in_flight` texts, each sorted by length and shared out between the instances.

    A text is in one batch only; a last, shorter window is left out unless it is the only one.
    """
    remaining = iter(texts)
    windows: list[list[Sequence[int]]] = []
    while window := list(islice(remaining, in_flight)):
        if len(window) == in_flight or not windows:
            windows.append(sorted(window, key=len))
    return [batch for window in windows for batch in _shares(window, instances)]


def busy_instances(in_flight: int, instances: int) -> int:
    """How many instances have something to do."""
    return min(instances, in_flight)


def _shares(window: list[Sequence[int]], instances: int) -> list[list[Sequence[int]]]:
    passes = max(math.ceil(len(window) / _POLICY.max_batch_items), busy_instances(len(window), instances))
    size = max(1, min(math.ceil(len(window) / passes), _POLICY.max_batch_tokens // len(window[-1])))
    return [window[start : start + size] for start in range(0, len(window), size)]
