"""What follows a forward pass that ran out of memory: smaller batches, which grow again slowly."""

import logging
from dataclasses import replace

from engine.scheduling.contract import BatchPolicy, BatchRecord

_log = logging.getLogger(__name__)

RECOVERY_STEP_S = 10.0
"""Seconds without another such pass after which the bound grows by a step. Chosen: whatever else needed the memory
rarely ends sooner, and a bound that is too large fails requests."""

RECOVERY_STEPS = 16
"""Steps from nothing to the bound that the policy sets: a halved bound is whole again after 80 s."""

RETRY_AFTER_S = 1.0
"""When a caller may send a text again for which there was no memory, in seconds. Chosen."""

_TYPE_NAMES = frozenset({"OutOfMemoryError", "AcceleratorOutOfMemoryError"})
"""PyTorch's error type, which this package cannot import."""

_MESSAGES = ("out of memory", "failed to allocate", "bad_alloc", "bad allocation", "can't allocate", "cannot allocate")
"""In the messages of PyTorch's allocators, ONNX Runtime's arena, and the C++ library."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception of a forward pass reports that memory could not be allocated.

    Runtimes raise RuntimeError and its subclasses for it, so the type's name and the message decide.
    """
    if isinstance(error, MemoryError) or any(kind.__name__ in _TYPE_NAMES for kind in type(error).__mro__):
        return True
    message = str(error).lower()
    return any(words in message for words in _MESSAGES)


class MemoryBound:
    """The bound that passes without memory put on the tokens of a batch. Used from the event loop's thread only."""

    def __init__(self) -> None:
        self._max_tokens: int | None = None
        self._changed_s = 0.0

    @property
    def max_tokens(self) -> int | None:
        """The most padded tokens in a batch; None: only the policy bounds them."""
        return self._max_tokens

    def update(self, record: BatchRecord, policy: BatchPolicy, now_s: float) -> bool:
        """Halves the bound if memory ran out in the batch, else lets it grow. Returns whether it has changed."""
        if record.out_of_memory_tokens:
            # Half of what failed, not of the bound: several batches may have been taken before it changed.
            bound = self._max_tokens or policy.max_batch_tokens
            self._max_tokens = max(1, min(bound, record.out_of_memory_tokens // 2))
            self._changed_s = now_s
            reason = "memory ran out in a forward pass"
        else:
            steps = int((now_s - self._changed_s) / RECOVERY_STEP_S)
            if self._max_tokens is None or steps < 1:
                return False
            self._max_tokens += steps * -(-policy.max_batch_tokens // RECOVERY_STEPS)
            self._changed_s += steps * RECOVERY_STEP_S
            reason = "memory has sufficed for a while"
        if self._max_tokens >= policy.max_batch_tokens:
            self._max_tokens = None
        tokens = self._max_tokens or policy.max_batch_tokens
        _log.warning("%s: batches have at most %d of %d tokens", reason, tokens, policy.max_batch_tokens)
        return True

    def applied_to(self, policy: BatchPolicy) -> BatchPolicy:
        """Returns the policy within the bound."""
        if self._max_tokens is None or self._max_tokens >= policy.max_batch_tokens:
            return policy
        return replace(policy, max_batch_tokens=self._max_tokens)
