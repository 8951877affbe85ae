"""An instance: a thread that takes a batch when it is idle, runs it, and passes the result to the event loop."""

import itertools
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from engine.host.threads import lower_priority, pin_to_core
from engine.scheduling.contract import BatchRecord, Executor, ModelOutput, TokenIds, Vectors
from engine.scheduling.dispatch import Dispatch
from engine.scheduling.out_of_memory import is_out_of_memory
from engine.scheduling.queue import Batch, Ticket

_log = logging.getLogger(__name__)


class PartialResult(NamedTuple):
    """The vectors that one batch gives one request: those of `positions`, in ascending order of position."""

    ticket: Ticket
    positions: Sequence[int]
    vectors: Vectors
    queue_s: float


@dataclass(frozen=True, slots=True)
class FailedText:
    """A text that has no usable vector."""

    ticket: Ticket
    position: int
    reason: str
    out_of_memory: bool = False
    """Whether the same text may have a vector later."""


class CurrentPass:
    """What an instance's thread runs at the moment. Written by that thread, read by others."""

    __slots__ = ("batch", "texts")

    def __init__(self) -> None:
        self.batch: Batch | None = None
        self.texts: Sequence[TokenIds] | None = None
        """The texts of the forward pass: a new object for each pass of a batch, None between passes."""


class FailedPass(NamedTuple):
    """A forward pass without a result."""

    texts: int
    reason: str
    out_of_memory: bool = False


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The result of a batch, passed to the event loop in one call."""

    batch: Batch
    results: Sequence[PartialResult]
    failures: Sequence[FailedText]
    record: BatchRecord


class InstanceListener(Protocol):
    """Callbacks of an instance. Called in the instance's thread."""

    def on_batch(self, result: BatchResult) -> None: ...

    def on_exit(self, instance: "Instance", current_batch: Batch | None, fault: BaseException | None) -> None:
        """Called at the end of the thread. `current_batch`: the batch that `fault` leaves unanswered, if any."""
        ...


class Instance:
    """An executor and the thread that calls it."""

    def __init__(
        self,
        make_executor: Callable[[], Executor],
        dispatch: Dispatch,
        listener: InstanceListener,
        *,
        name: str,
        clock: Callable[[], float],
        core: int | None = None,
        executor: Executor | None = None,
    ) -> None:
        """`make_executor`: called in the thread, unless there is an `executor`.

        `core`: the only core that the thread may run on; None for any.
        """
        self.name = name
        self.current = CurrentPass()
        """The batch and the forward pass that the thread is in."""
        self.is_responsive = executor is not None
        """Whether a pass of its executor has ever ended. An executor that is handed in was verified."""
        self._make_executor = make_executor
        self._executor = executor
        self._abandoned: Batch | None = None
        self._dispatch = dispatch
        self._listener = listener
        self._clock = clock
        self._core = core
        self._has_taken_batch = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def executor(self) -> Executor:
        """The executor that the thread calls. Another thread may call it while this one waits for a batch."""
        if self._executor is None:
            raise RuntimeError(f"instance {self.name} has dropped its executor")
        return self._executor

    @property
    def has_taken_batch(self) -> bool:
        """Whether the thread has ever taken a batch."""
        return self._has_taken_batch

    def start(self) -> None:
        """Starts the thread. Raises RuntimeError if the system cannot create one."""
        self._thread.start()

    def join(self) -> None:
        """Waits for the end of the thread. Does not block after `on_exit`."""
        self._thread.join()

    def drop_executor(self) -> None:
        """Drops the reference to the executor, so that its memory can be freed."""
        self._executor = None

    def abandon(self, batch: Batch) -> None:
        """Gives up the thread, which hangs in this batch: if it ever returns, it drops the result and ends.

        Event loop thread only. A batch that the thread has taken meanwhile is still delivered.
        """
        self._abandoned = batch

    def replacement(self, *, same_executor: bool) -> "Instance":
        """Returns a new instance for the same core.

        `same_executor`: after the thread was lost. A hung thread still uses its executor, so a new one is made.
        """
        executor = self._executor if same_executor else None
        return Instance(
            self._make_executor, self._dispatch, self._listener, name=self.name, clock=self._clock, core=self._core,
            executor=executor,
        )  # fmt: skip

    def _run(self) -> None:
        batch: Batch | None = None
        fault: BaseException | None = None
        try:
            lower_priority()
            if self._core is not None:
                pin_to_core(self._core)
            if self._executor is None:
                self._executor = self._make_executor()
            self._run_batches(self._executor)
        except BaseException as lost:  # reported to the listener: a lost thread must be replaced
            batch, fault = self.current.batch, lost
        self._listener.on_exit(self, batch, fault)

    def _run_batches(self, executor: Executor) -> None:
        """Takes and runs batches until the queue is closed and empty, or the thread was given up."""
        current = self.current
        while self._abandoned is None and (batch := self._dispatch.next_batch()) is not None:
            self._has_taken_batch = True
            current.batch = batch
            result = run_batch(batch, executor, self._clock, current)
            if batch is not self._abandoned:
                self._listener.on_batch(result)
            current.batch = None  # delivered: a later fault does not concern this batch
            self.is_responsive = True


def run_batch(batch: Batch, executor: Executor, clock: Callable[[], float], current: CurrentPass) -> BatchResult:
    """Runs a batch. If the forward pass fails, splits the batch in halves until each failing text is alone.

    After a pass without enough memory the texts run once more, in halves. `current` has the pass that runs.
    """
    entries = batch.entries
    runner = _PassRunner(executor, current)
    started_s = clock()
    pieces = list(runner.run_or_split(batch.token_ids))
    infer_s = clock() - started_s
    lengths = [entry.length for entry in entries]
    results, failures = _group_by_request(batch, pieces)
    refused = sum(failure.out_of_memory for failure in failures) if failures else 0
    computed = sum(piece.computed_tokens for piece in pieces if isinstance(piece, ModelOutput))
    record = BatchRecord(
        items=len(entries),
        tokens=sum(lengths),
        padded_tokens=computed or len(entries) * lengths[-1],
        infer_s=infer_s,
        queue_s=[batch.taken_s - entry.ticket.arrived_s for entry in entries],
        poisoned=len(failures) - refused,
        split=len(pieces) > 1,
        refused=refused,
        out_of_memory_tokens=runner.out_of_memory_tokens,
    )
    return BatchResult(batch, results, failures, record)


class _PassRunner:
    """The forward passes of one batch."""

    __slots__ = ("_current", "_executor", "out_of_memory_tokens")

    def __init__(self, executor: Executor, current: CurrentPass) -> None:
        self._executor = executor
        self._current = current
        self.out_of_memory_tokens = 0

    def run_or_split(self, texts: Sequence[TokenIds], *, retries: int = 1) -> Iterator[ModelOutput | FailedPass]:
        """Yields the outputs piece by piece, in the order of the texts. A failed pass has one text, or no memory.

        `retries`: how often texts run again after a pass without enough memory.
        """
        self._current.texts = texts
        try:
            output = _validated(self._executor(texts), len(texts))
        except Exception as error:
            failed = self._failed(texts, error)
        else:
            yield output
            return
        finally:
            self._current.texts = None
        if failed.out_of_memory:
            if not retries:
                yield failed
                return
            retries -= 1
        elif len(texts) == 1:
            yield failed
            return
        for half in _halves(texts):
            yield from self.run_or_split(half, retries=retries)

    def _failed(self, texts: Sequence[TokenIds], error: Exception) -> FailedPass:
        # The error's message goes to the log only: it may quote the text.
        _log.warning("a forward pass of %d texts failed", len(texts), exc_info=error)
        if is_out_of_memory(error):
            self.out_of_memory_tokens = self.out_of_memory_tokens or len(texts) * max(map(len, texts))
            return FailedPass(len(texts), "memory ran out", out_of_memory=True)
        return FailedPass(len(texts), f"its forward pass failed ({type(error).__name__}, see the engine's log)")


def _halves(texts: Sequence[TokenIds]) -> Sequence[Sequence[TokenIds]]:
    """Returns both halves of the texts, in new objects; a single text alone."""
    half = len(texts) // 2
    return [texts[:half], texts[half:]] if half else [texts[:]]


def _validated(output: ModelOutput | Vectors, count: int) -> ModelOutput:
    """Returns the output with float32 arrays. Raises ValueError unless there is a vector for each text."""
    if isinstance(output, Vectors):
        output = ModelOutput(output.unit, output.norms, range(len(output.unit)))
    unit = np.asarray(output.unit_rows, dtype=np.float32)
    norms = np.asarray(output.norm_rows, dtype=np.float32)
    if unit.ndim != 2 or len(output.rows) != count or norms.shape != unit.shape[:1]:
        raise ValueError(f"{count} texts gave vectors of shape {unit.shape} and norms of shape {norms.shape}")
    return output._replace(unit_rows=unit, norm_rows=norms)


def _group_by_request(
    batch: Batch, pieces: list[ModelOutput | FailedPass]
) -> tuple[list[PartialResult], list[FailedText]]:
    """Groups the vectors of a batch by request, in the order of each request's texts.

    Copies them out of the executor's arrays, unless a request has one vector and the output owns its arrays.
    """
    results: list[PartialResult] = []
    failures: list[FailedText] = []
    entries = iter(batch.entries)
    for piece in pieces:
        if isinstance(piece, FailedPass):
            failed = itertools.islice(entries, piece.texts)
            failures.extend(FailedText(one.ticket, one.position, piece.reason, piece.out_of_memory) for one in failed)
            continue
        finite = np.isfinite(piece.unit_rows).all(axis=1) & np.isfinite(piece.norm_rows)
        every_row_finite = bool(finite.all())
        rows_of: dict[Ticket, list[tuple[int, int]]] = {}
        for row, (_, _, position, ticket) in zip(piece.rows, entries, strict=False):
            if every_row_finite or finite[row]:
                rows_of.setdefault(ticket, []).append((position, row))
            else:
                failures.append(FailedText(ticket, position, "its vector is not finite"))
        results.extend(_partial_result(ticket, placed, piece, batch.taken_s) for ticket, placed in rows_of.items())
    return results, failures


def _partial_result(
    ticket: Ticket, placed: list[tuple[int, int]], output: ModelOutput, taken_s: float
) -> PartialResult:
    """One request's share of an output. `placed`: (position in the request, row of the output) of each text."""
    placed.sort()
    positions = [position for position, _ in placed]
    if len(placed) == 1:  # a slice costs a tenth of indexing by a list, and single texts are the common case
        ((_, row),) = placed
        vectors = Vectors(output.unit_rows[row : row + 1], output.norm_rows[row : row + 1])
        if not output.owned:
            vectors = Vectors(vectors.unit.copy(), vectors.norms.copy())
    else:
        rows = [row for _, row in placed]
        vectors = Vectors(output.unit_rows[rows], output.norm_rows[rows])
    return PartialResult(ticket, positions, vectors, taken_s - ticket.arrived_s)
