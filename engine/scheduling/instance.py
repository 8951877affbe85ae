"""One instance: the thread that takes a batch when it is idle, runs it, and hands the answers to the event loop."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from engine.host.threads import lower_priority, pin_to_core
from engine.scheduling.contract import BatchRecord, Executor, ModelOutput, TokenIds, Vectors
from engine.scheduling.dispatch import Dispatch
from engine.scheduling.queue import Batch, Ticket

_log = logging.getLogger(__name__)


class Answers(NamedTuple):
    """What one batch answers one request: the vectors of `positions`, in rising order of position."""

    ticket: Ticket
    positions: Sequence[int]
    vectors: Vectors
    queue_s: float


@dataclass(frozen=True, slots=True)
class Poison:
    """A text which has no vector."""

    ticket: Ticket
    position: int
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that one batch came to: one hop to the event loop carries it."""

    batch: Batch
    answers: Sequence[Answers]
    poisons: Sequence[Poison]
    record: BatchRecord


class InstanceListener(Protocol):
    """Who hears from an instance, in the instance's thread."""

    def on_batch(self, outcome: Outcome) -> None: ...

    def on_exit(self, instance: "Instance", current_batch: Batch | None, fault: BaseException | None) -> None:
        """The thread's last words. With a fault, `in_hand` is the batch it will never answer, if it had one."""
        ...


class Instance:
    """An executor and the thread that calls it."""

    def __init__(
        self,
        executor: Executor,
        dispatch: Dispatch,
        listener: InstanceListener,
        *,
        name: str,
        clock: Callable[[], float],
        core: int | None = None,
    ) -> None:
        """`core`: the only one that its thread may run on."""
        self.name = name
        self._executor: Executor | None = executor
        self._dispatch = dispatch
        self._listener = listener
        self._clock = clock
        self._core = core
        self._has_worked = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    @property
    def executor(self) -> Executor:
        """What its thread calls; another may while the thread waits for a batch."""
        if self._executor is None:
            raise RuntimeError(f"instance {self.name} has let its executor go")
        return self._executor

    @property
    def has_worked(self) -> bool:
        """Whether it ever took a batch."""
        return self._has_worked

    def start(self) -> None:
        """Starts the thread. Raises RuntimeError where the system has no more of them."""
        self._thread.start()

    def join(self) -> None:
        """Waits for the thread; no time at all once it has said its last words."""
        self._thread.join()

    def drop_executor(self) -> None:
        """Lets the executor go, so that its memory can."""
        self._executor = None

    def replacement(self) -> "Instance":
        """A new instance of the same executor, for when this one's thread was lost."""
        return Instance(
            self.executor, self._dispatch, self._listener, name=self.name, clock=self._clock, core=self._core
        )

    def _work(self) -> None:
        executor = self.executor
        batch: Batch | None = None
        fault: BaseException | None = None
        try:
            lower_priority()
            if self._core is not None:
                pin_to_core(self._core)
            while (batch := self._dispatch.next_batch()) is not None:
                self._has_worked = True
                self._listener.on_batch(run(batch, executor, self._clock))
                batch = None  # delivered: a fault from here on is not this batch's
        except BaseException as lost:  # the thread ends here whatever it was, and must not end unheard
            fault = lost
        del executor
        self._listener.on_exit(self, batch, fault)


def run(batch: Batch, executor: Executor, clock: Callable[[], float]) -> Outcome:
    """Runs a batch. A failing one is split in halves until the texts that fail, fail alone."""
    entries = batch.entries
    started_s = clock()
    pieces = list(_run_or_split(batch.token_ids, executor))
    infer_s = clock() - started_s
    lengths = [entry.length for entry in entries]
    answers, poisons = _by_request(batch, pieces)
    computed = sum(piece.computed_tokens for piece in pieces if isinstance(piece, ModelOutput))
    record = BatchRecord(
        items=len(entries),
        tokens=sum(lengths),
        padded_tokens=computed or len(entries) * lengths[-1],
        infer_s=infer_s,
        queue_s=[batch.taken_s - entry.ticket.arrived_s for entry in entries],
        poisoned=len(poisons),
        split=len(pieces) > 1,
    )
    return Outcome(batch, answers, poisons, record)


def _run_or_split(texts: Sequence[TokenIds], executor: Executor) -> Iterator[ModelOutput | str]:
    """The outputs piece by piece, in the order of the texts; a string is why one text has no vector."""
    try:
        output = _checked(executor(texts), len(texts))
    except Exception as error:
        # The error's own words stay in the log: they may quote the text.
        _log.warning("a forward pass of %d texts failed", len(texts), exc_info=error)
        if len(texts) == 1:
            yield f"its forward pass failed ({type(error).__name__}, see the engine's log)"
            return
    else:
        yield output
        return
    half = len(texts) // 2
    yield from _run_or_split(texts[:half], executor)
    yield from _run_or_split(texts[half:], executor)


def _checked(output: ModelOutput | Vectors, count: int) -> ModelOutput:
    """The output with float32 arrays. Raises ValueError unless there is a vector for each text."""
    if isinstance(output, Vectors):
        output = ModelOutput(output.unit, output.norms, range(len(output.unit)))
    unit = np.asarray(output.unit_rows, dtype=np.float32)
    norms = np.asarray(output.norm_rows, dtype=np.float32)
    if unit.ndim != 2 or len(output.rows) != count or norms.shape != unit.shape[:1]:
        raise ValueError(f"{count} texts gave vectors of shape {unit.shape} and norms of shape {norms.shape}")
    return output._replace(unit_rows=unit, norm_rows=norms)


def _by_request(batch: Batch, pieces: list[ModelOutput | str]) -> tuple[list[Answers], list[Poison]]:
    """Groups the vectors of a batch by request, those of one request in the order of its texts.

    Copies them out of the executor's arrays, unless a request has one vector and the arrays were handed over.
    """
    answers: list[Answers] = []
    poisons: list[Poison] = []
    entries = iter(batch.entries)
    for piece in pieces:
        if isinstance(piece, str):
            entry = next(entries)
            poisons.append(Poison(entry.ticket, entry.position, piece))
            continue
        finite = np.isfinite(piece.unit_rows).all(axis=1) & np.isfinite(piece.norm_rows)
        every_row_finite = bool(finite.all())
        rows_of: dict[Ticket, list[tuple[int, int]]] = {}
        for row, (_, _, position, ticket) in zip(piece.rows, entries, strict=False):
            if every_row_finite or finite[row]:
                rows_of.setdefault(ticket, []).append((position, row))
            else:
                poisons.append(Poison(ticket, position, "its vector is not finite"))
        answers.extend(_answers(ticket, found, piece, batch.taken_s) for ticket, found in rows_of.items())
    return answers, poisons


def _answers(ticket: Ticket, found: list[tuple[int, int]], output: ModelOutput, taken_s: float) -> Answers:
    """One request's share of an output. `found`: position in the request and row, of each of its texts."""
    found.sort()
    positions = [position for position, _ in found]
    if len(found) == 1:  # a slice costs a tenth of indexing by a list, and single texts are the common case
        ((_, row),) = found
        vectors = Vectors(output.unit_rows[row : row + 1], output.norm_rows[row : row + 1])
        if not output.owned:
            vectors = Vectors(vectors.unit.copy(), vectors.norms.copy())
    else:
        rows = [row for _, row in found]
        vectors = Vectors(output.unit_rows[rows], output.norm_rows[rows])
    return Answers(ticket, positions, vectors, taken_s - ticket.arrived_s)
