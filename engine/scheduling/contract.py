"""The scheduler's types: its input, its results, and the interface of an executor."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

TokenIds = Sequence[int]
"""The token ids of one text, special tokens included, not padded."""


class Vectors(NamedTuple):
    """The vectors of n texts, in the order of the texts."""

    unit: NDArray[np.float32]
    """(n, dim), rows of unit norm."""
    norms: NDArray[np.float32]
    """(n,), the norm of each vector before normalisation. The unnormalised vectors are `unit * norms[:, None]`."""

    def in_order(self) -> "Vectors":
        """Returns itself."""
        return self


class ModelOutput(NamedTuple):
    """The output of a forward pass of n texts in m >= n rows. The scheduler copies a row once, to its destination."""

    unit_rows: NDArray[np.float32]
    """(m, dim), of unit norm in the rows that belong to a text."""
    norm_rows: NDArray[np.float32]
    """(m,), as `Vectors.norms`."""
    rows: Sequence[int]
    """The row of each text."""
    computed_tokens: int = 0
    """Tokens that the pass computed, padding included; 0 if not counted."""
    owned: bool = False
    """Whether the caller owns the arrays. Otherwise they are valid until the executor's next call."""

    def in_order(self) -> Vectors:
        """Returns a copy with text i in row i."""
        return Vectors(self.unit_rows[self.rows], self.norm_rows[self.rows])


class SchedulerStats(NamedTuple):
    """A snapshot of a scheduler."""

    queued_items: int
    """Texts that wait for an instance."""
    queued_tokens: int
    """Tokens of those texts, without padding."""
    idle_instances: int
    """Instances that wait for a batch."""
    in_flight_jobs: int
    """Jobs submitted and not yet answered."""
    oldest_in_flight_s: float
    """Age of the oldest unanswered job in seconds; 0 without one."""
    abandoned_threads: int = 0
    """Threads that hang in a forward pass and were given up. Their memory cannot be freed."""


class Executor(Protocol):
    """The forward pass of one instance. Called from one thread at a time: the instance's thread, or the event loop's
    while the instance waits.
    """

    def __call__(self, texts: Sequence[TokenIds]) -> "ModelOutput | Vectors":
        """Runs one batch. After any exception the scheduler splits the batch; after one that reports a lack of memory,
        once (`engine.scheduling.out_of_memory`).

        `Vectors` are read as a `ModelOutput` with one row per text whose arrays the caller does not own.
        """
        ...


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """The settings of batching. They can change while the scheduler runs.

    Made by `engine.tuning.plan.BatchOverrides.policy` from the deployment's serving plan and the user's overrides.
    """

    max_batch_tokens: int = 4096
    """The most padded tokens in a batch: the number of texts times the length of the longest."""
    max_batch_items: int = 32
    """The maximum number of texts in a batch."""
    max_wait_s: float = 0.0
    """How long an idle instance may wait for a fuller batch; 0 is work-conserving."""
    packs: bool = False
    """Whether the executors put several texts in one row. Batches then follow the turns and ignore lengths."""
    coalesce: bool = True
    """Whether requests share batches. If not, a batch holds the texts of one request, within the bounds above."""
    pass_cost_tokens: int = 16
    """The fixed cost of a forward pass, in tokens: the padding that is worth one pass saved. Small on a CPU, where
    arithmetic dominates; thousands on an accelerator, where launching kernels dominates."""


class JobResult(NamedTuple):
    """The result of a request: all vectors, in the order of its texts."""

    vectors: Vectors
    queue_s: float
    """The longest time that one of its texts waited for an instance."""
    infer_s: float
    """The longest forward pass that one of its texts was in."""


@dataclass(frozen=True, slots=True)
class BatchRecord:
    """The measurements of one batch."""

    items: int
    tokens: int
    padded_tokens: int
    infer_s: float
    queue_s: Sequence[float]
    """Per text."""
    poisoned: int = 0
    """Texts without a usable vector."""
    split: bool = False
    """Whether the batch failed and was split."""
    refused: int = 0
    """Texts without a vector because memory ran out twice."""
    out_of_memory_tokens: int = 0
    """The padded tokens of the first pass that ran out of memory; 0: none did."""


class BatchObserver(Protocol):
    """Receives batches and dropped texts. Called in the event loop's thread."""

    def batch_done(self, record: BatchRecord) -> None: ...

    def items_dropped(self, expired: int, cancelled: int) -> None: ...

    def instance_replaced(self, *, hung: bool) -> None:
        """Called when an instance has lost its thread, or when its forward pass hangs."""
        ...
