"""The scheduler's vocabulary: what goes in, what comes out, and what it asks of a runtime."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

TokenIds = Sequence[int]
"""One text after tokenizing: special tokens included, not padded."""


class Vectors(NamedTuple):
    """The vectors of n texts, in the order of the texts."""

    unit: NDArray[np.float32]
    """(n, dim), unit rows."""
    norms: NDArray[np.float32]
    """(n,): the length of each vector before normalising; the un-normalised vectors are `unit * norms[:, None]`."""

    def in_order(self) -> "Vectors":
        """Itself."""
        return self


class ModelOutput(NamedTuple):
    """What a forward pass of n texts leaves in m >= n rows, so that nothing is copied before it is known where to."""

    unit_rows: NDArray[np.float32]
    """(m, dim), unit rows where a text is."""
    norm_rows: NDArray[np.float32]
    """(m,), as `Vectors.norms`."""
    rows: Sequence[int]
    """The row of each text."""
    computed_tokens: int = 0
    """Tokens that the pass computed, padding included; 0: not counted."""
    owned: bool = False
    """Whether the executor hands the arrays over. Otherwise they are valid until its next call."""

    def in_order(self) -> Vectors:
        """A copy with text i in row i."""
        return Vectors(self.unit_rows[self.rows], self.norm_rows[self.rows])


class SchedulerStats(NamedTuple):
    """A scheduler at one moment."""

    queued_items: int
    """Texts that wait for an instance."""
    queued_tokens: int
    """Tokens of those texts, without padding."""
    idle_instances: int
    """Instances that wait for a batch."""
    in_flight_jobs: int
    """Jobs submitted and not yet answered."""
    oldest_in_flight_s: float
    """The age of the oldest unanswered job; 0 without one."""


class Executor(Protocol):
    """One instance's forward pass. Called from one thread at a time: the instance's own, or the event loop's while that
    one waits.
    """

    def __call__(self, texts: Sequence[TokenIds]) -> "ModelOutput | Vectors":
        """Runs one batch. Any exception makes it a failing batch, which the scheduler splits.

        `Vectors` stand for a `ModelOutput` with one row a text, whose arrays are not handed over.
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
