"""The scheduler's vocabulary: what goes in, what comes out, and what it asks of a runtime."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

TokenIds = Sequence[int]
"""One text after tokenizing: special tokens included, not padded."""


class Vectors(NamedTuple):
    """What a forward pass gives for n texts, in their order.

    `unit` is (n, dim) float32 with unit rows; `norms` is (n,) float32, each vector's length before normalising, so
    that the un-normalised vectors are `unit * norms[:, None]`. `computed_tokens` counts what the pass multiplied,
    padding included; 0 where nobody counted.
    """

    unit: NDArray[np.float32]
    norms: NDArray[np.float32]
    computed_tokens: int = 0


class Executor(Protocol):
    """One instance's forward pass. Called from one thread at a time: the instance's own, or the event loop's while that
    one waits.
    """

    def __call__(self, texts: Sequence[TokenIds]) -> Vectors:
        """Runs one batch; the arrays it returns are the scheduler's to keep only until the next call.

        Any exception it raises is a failing batch, which the scheduler splits.
        """
        ...


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """How the scheduler forms batches; can be replaced while it serves.

    Made by `engine.tuning.plan.BatchOverrides.policy` from the deployment's serving plan and the user's overrides.
    """

    max_batch_tokens: int = 4096
    """Padded tokens in one forward pass: texts times the longest text."""
    max_batch_items: int = 32
    max_wait_s: float = 0.0
    """How long an idle instance may wait for a fuller batch; 0 is work-conserving."""
    packs: bool = False
    """Whether the executors put several texts in one row: batches then follow the turns and ignore lengths."""
    coalesce: bool = True
    """Off: one request, one batch (which may be cut by the bounds above)."""
    pass_cost_tokens: int = 16
    """What a forward pass costs besides its tokens, in tokens: how much padding is worth a pass saved. Small where
    arithmetic is slow (a CPU), thousands where launching is what costs (an accelerator)."""


class JobResult(NamedTuple):
    """All of one request's vectors, restored to the request's order."""

    vectors: Vectors
    queue_s: float
    """The longest time one of its texts waited for an instance."""
    infer_s: float
    """The longest forward pass one of its texts was in."""


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """What one forward pass did, for telemetry. Counted once a batch, in the event loop's thread."""

    items: int
    tokens: int
    padded_tokens: int
    infer_s: float
    queue_s: Sequence[float]
    """Per item."""
    poisoned: int = 0
    split: bool = False


class BatchObserver(Protocol):
    """Who is told of batches and drops; called in the event loop's thread."""

    def batch_done(self, record: BatchRecord) -> None: ...

    def items_dropped(self, expired: int, cancelled: int) -> None: ...
