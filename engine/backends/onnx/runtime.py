"""ONNX Runtime: the exported graph, in one session that all one-thread instances share."""

import json
import tempfile
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import onnxruntime

from engine.backends.base import Cell
from engine.backends.layout.base import Layout, Rectangle, forward
from engine.backends.layout.packing import ONE_TEXT_A_ROW, layout_of
from engine.backends.onnx.trace import OnnxTrace
from engine.errors import ModelError
from engine.host.memory import release_memory
from engine.models.card import read_model_card
from engine.scheduling.contract import ModelOutput, TokenIds

GRAPH_FILE = "model.onnx"
_PROVIDERS = {"cpu": "CPUExecutionProvider", "mps": "CoreMLExecutionProvider"}
_ROW_TOKENS = 48
"""Its attention costs more in wide rows: with 64 tokens mixed lengths are 4 to 8 % slower (`benchmarks.passes`)."""
SLOWER_FUSIONS = ("SkipLayerNormFusion",)
"""What the optimiser would make slower: the sum and the normalisation of 176 × 384 floats in one kernel take 275 µs,
in two 36; that was over a quarter of an int8 pass (`python -m benchmarks.passes --vary fusions`)."""
_CLOSED = "this deployment was released: nothing may run on it any more"


class OnnxBackend:
    """Loads whatever graph the preparer left; a precision is a property of that graph."""

    name = "onnx"

    def __init__(self, disabled_fusions: Sequence[str] = SLOWER_FUSIONS) -> None:
        """`disabled_fusions`: what the optimiser shall leave alone, by ONNX Runtime's names."""
        self._open_session = partial(open_session, disabled_fusions=disabled_fusions)

    def load(self, artifact: Path, model_dir: Path, cell: Cell, threads: int) -> "OnnxModel":
        """Opens the artifact's graph with `threads` intra-op threads a session. Raises ModelError."""
        provider = _PROVIDERS.get(cell.device)
        if provider is None:
            raise ModelError(f"onnx has no device {cell.device} here yet: choose one of {', '.join(_PROVIDERS)}")
        if provider not in onnxruntime.get_available_providers():
            raise ModelError(f"this build of ONNX Runtime has no {provider}: choose --device cpu")
        card = read_model_card(model_dir, model_dir.name)
        graph = artifact / GRAPH_FILE
        try:
            with tempfile.TemporaryDirectory(prefix="embedconsole-") as traces:
                session = self._open_session(graph, provider, threads, trace_prefix=str(Path(traces) / "first-run"))
                trace = _traced(session)
        except Exception as error:  # its exception types share no base of their own
            reason = (str(error).splitlines() or [""])[0]
            raise ModelError(f"ONNX Runtime cannot load {graph}: {reason}") from error
        return OnnxModel(
            _Seat(session, threads),
            partial(self._open_session, graph, provider),
            dim=card.dim,
            pad_token_id=card.pad_token_id,
            trace=trace,
        )


@dataclass(slots=True)
class _Seat:
    """A session and, where only one executor may use it, who does. Closing takes the session out from under them."""

    session: onnxruntime.InferenceSession | None
    threads: int
    taken_by: "weakref.ref[OnnxExecutor] | None" = None

    def serves(self, threads: int) -> bool:
        """One-thread sessions have no pool and are shared; a wider one's pool is for one executor at a time."""
        free = self.taken_by is None or self.taken_by() is None
        return threads == self.threads and (threads == 1 or free)


class OnnxModel:
    """A loaded graph, and the sessions on it."""

    computes_in_caller = True

    def __init__(
        self,
        seat: _Seat,
        open_another: Callable[[int], onnxruntime.InferenceSession],
        *,
        dim: int,
        pad_token_id: int,
        trace: OnnxTrace,
    ) -> None:
        self._seats = [seat]
        self._open_another = open_another
        self._dim = dim
        self._pad_token_id = pad_token_id
        self._trace = trace
        self._inputs = input_names(seat.session) if seat.session else ()
        self._lock = threading.Lock()

    @property
    def dim(self) -> int:
        """Dimensions of a vector."""
        return self._dim

    @property
    def precision(self) -> str:
        """That in which most linear layers ran."""
        return self._trace.precision

    @property
    def evidence(self) -> str:
        """`36 of 36 linear layers int8, …`, from the runtime's own trace of a first run."""
        return self._trace.evidence + ("" if self.packs else ONE_TEXT_A_ROW)

    @property
    def packs(self) -> bool:
        """Whether texts share rows."""
        return layout_of(self._inputs, self._pad_token_id).packs

    def executor(self, threads: int, *, row_tokens: int = _ROW_TOKENS) -> "OnnxExecutor":
        """One instance's forward pass. Raises ModelError after close()."""
        with self._lock:
            if not self._seats:
                raise ModelError(_CLOSED)
            seat = next((seat for seat in self._seats if seat.serves(threads)), None)
            if seat is None:
                seat = _Seat(self._open_another(threads), threads)
                self._seats.append(seat)
            layout = layout_of(self._inputs, self._pad_token_id, row_tokens=row_tokens)
            executor = OnnxExecutor(seat, layout)
            seat.taken_by = weakref.ref(executor)
            return executor

    def close(self) -> None:
        """Drops the sessions, those of its executors too, and gives the memory back to the system."""
        with self._lock:
            for seat in self._seats:
                seat.session = None
            self._seats.clear()
        release_memory()


class OnnxExecutor:
    """One instance: its own layout on a session whose run() any thread may call."""

    def __init__(self, seat: _Seat, layout: Layout) -> None:
        self._seat = seat
        self._layout = layout

    def __call__(self, texts: Sequence[TokenIds]) -> ModelOutput:
        """Runs one batch in the calling thread. Raises ModelError after close()."""
        return forward(self._layout, self._run, texts, owned=True)

    def _run(self, inputs: Mapping[str, Rectangle]) -> Any:
        session = self._seat.session  # read once: close() may come between two looks
        if session is None:
            raise ModelError(_CLOSED)
        return session.run(("unit", "norms"), inputs)


def open_session(
    graph: Path,
    provider: str,
    threads: int,
    trace_prefix: str | None = None,
    *,
    disabled_fusions: Sequence[str] = SLOWER_FUSIONS,
) -> onnxruntime.InferenceSession:
    """A session on `graph`; with `trace_prefix` it records its runs there until end_profiling().

    Measured on all-MiniLM-L6-v2, one thread, lengths 8-60, batches of 32: the arena off costs 10 %.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only: its warnings go to fd 2, past logging
    # Off: it plans memory per input shape and keeps every plan, and here nearly every batch has a new shape.
    options.enable_mem_pattern = False
    # Off: idle pool threads would burn the cores that the other instances need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if trace_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = trace_prefix
    return onnxruntime.InferenceSession(
        str(graph), options, providers=[provider], disabled_optimizers=list(disabled_fusions)
    )


def input_names(session: onnxruntime.InferenceSession) -> tuple[str, ...]:
    """The graph's inputs, which tell its layout."""
    return tuple(one.name for one in session.get_inputs())


def _traced(session: onnxruntime.InferenceSession) -> OnnxTrace:
    """The kernels of one two-token run (a few milliseconds), after all rewriting by the optimiser.

    Neither the file nor a flag can say what really runs.
    """
    (only,) = layout_of(input_names(session), 0)([[1, 1]])
    session.run(None, only.inputs)
    events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    return OnnxTrace.of(
        event["args"] for event in events if event.get("cat") == "Node" and "op_name" in event.get("args", {})
    )


BACKEND = OnnxBackend()
