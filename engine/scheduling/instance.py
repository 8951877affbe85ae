"""One instance: the thread that takes a batch when it is idle, runs it, and hands the answers to the event loop."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from engine.host.threads import lower_priority, pin_to_core
from engine.scheduling.contract import BatchRecord, Executor, TokenIds, Vectors
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
    lengths = [entry[0] for entry in entries]
    answers, poisons = _by_request(batch, pieces)
    computed = sum(piece.computed_tokens for piece in pieces if isinstance(piece, Vectors))
    record = BatchRecord(
        items=len(entries),
        tokens=sum(lengths),
        padded_tokens=computed or len(entries) * lengths[-1],
        infer_s=infer_s,
        queue_s=[batch.taken_s - entry[3].arrived_s for entry in entries],
        poisoned=len(poisons),
        split=len(pieces) > 1,
    )
    return Outcome(batch, answers, poisons, record)


def _run_or_split(texts: Sequence[TokenIds], executor: Executor) -> Iterator[Vectors | str]:
    """What came out, piece by piece in order: vectors of some texts, or why one text has none."""
    try:
        vectors = _checked(executor(texts), len(texts))
    except Exception as error:
        # The error's own words stay in the log: they may quote the text.
        _log.warning("a forward pass of %d texts failed", len(texts), exc_info=error)
        if len(texts) == 1:
            yield f"its forward pass failed ({type(error).__name__}, see the engine's log)"
            return
    else:
        yield vectors
        return
    half = len(texts) // 2
    yield from _run_or_split(texts[:half], executor)
    yield from _run_or_split(texts[half:], executor)


def _checked(vectors: Vectors, count: int) -> Vectors:
    """The vectors as float32 and our own copy; ValueError unless there is one for each text."""
    unit = np.array(vectors.unit, dtype=np.float32, order="C")
    norms = np.array(vectors.norms, dtype=np.float32)
    if unit.ndim != 2 or len(unit) != count or norms.shape != (count,):
        raise ValueError(f"{count} texts gave vectors of shape {unit.shape} and norms of shape {norms.shape}")
    return Vectors(unit, norms, vectors.computed_tokens)


def _by_request(batch: Batch, pieces: list[Vectors | str]) -> tuple[list[Answers], list[Poison]]:
    """Sorts a batch's rows out by request and position."""
    row = 0
    answers: list[Answers] = []
    poisons: list[Poison] = []
    for piece in pieces:
        if isinstance(piece, str):
            poisons.append(Poison(batch.entries[row][3], batch.entries[row][2], piece))
            row += 1
            continue
        finite = np.isfinite(piece.unit).all(axis=1) & np.isfinite(piece.norms)
        every_row_finite = bool(finite.all())
        rows_of: dict[Ticket, list[tuple[int, int]]] = {}
        for index, (_, _, position, ticket) in enumerate(batch.entries[row : row + len(finite)]):
            if every_row_finite or finite[index]:
                rows_of.setdefault(ticket, []).append((position, index))
            else:
                poisons.append(Poison(ticket, position, "its vector is not finite"))
        answers.extend(_answers(ticket, rows, piece, batch.taken_s) for ticket, rows in rows_of.items())
        row += len(finite)
    return answers, poisons


def _answers(ticket: Ticket, rows: list[tuple[int, int]], vectors: Vectors, taken_s: float) -> Answers:
    rows.sort()
    positions = [position for position, _ in rows]
    if len(rows) == 1:  # a slice costs a tenth of indexing by a list, and single texts are the common case
        only = slice(rows[0][1], rows[0][1] + 1)
        own = Vectors(vectors.unit[only], vectors.norms[only])
    else:
        chosen = [row for _, row in rows]
        own = Vectors(vectors.unit[chosen], vectors.norms[chosen])
    return Answers(ticket, positions, own, taken_s - ticket.arrived_s)
