"""The ONNX Runtime backend. All one-thread instances share one session on the exported graph."""

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
from engine.backends.layout.base import IntArray, Layout, forward
from engine.backends.layout.packing import NOT_PACKED, layout_of
from engine.backends.onnx.trace import OnnxTrace
from engine.errors import ModelError
from engine.host.memory import release_memory
from engine.models.card import read_model_card
from engine.scheduling.contract import ModelOutput, TokenIds

GRAPH_FILE = "model.onnx"
_PROVIDERS = {"cpu": "CPUExecutionProvider", "mps": "CoreMLExecutionProvider"}
_ROW_TOKENS = 48
"""Attention is slower in wide rows: with 64 tokens, mixed lengths are 4 to 8 % slower (`benchmarks.passes`)."""
SLOWER_FUSIONS = ("SkipLayerNormFusion",)
"""Fusions of the optimiser that are slower than the operations they replace.

Adding and normalising 176 × 384 floats takes 275 µs in one fused kernel and 36 µs in two, a difference of over a
quarter of an int8 pass (`python -m benchmarks.passes --vary fusions`).
"""
_CLOSED = "this deployment was released and cannot run any more"


class OnnxBackend:
    """Loads the prepared graph. The precision is a property of the graph."""

    name = "onnx"

    def __init__(self, disabled_fusions: Sequence[str] = SLOWER_FUSIONS) -> None:
        """`disabled_fusions` are the optimisers to disable, by the names of ONNX Runtime."""
        self._open_session = partial(open_session, disabled_fusions=disabled_fusions)

    def load(self, artifact: Path, model_dir: Path, cell: Cell, threads: int) -> "OnnxModel":
        """Loads the graph of the artifact with `threads` intra-op threads per session. Raises ModelError."""
        provider = _PROVIDERS.get(cell.device)
        if provider is None:
            raise ModelError(f"onnx does not support device {cell.device}: choose one of {', '.join(_PROVIDERS)}")
        if provider not in onnxruntime.get_available_providers():
            raise ModelError(f"this build of ONNX Runtime has no {provider}: choose --device cpu")
        card = read_model_card(model_dir, model_dir.name)
        graph = artifact / GRAPH_FILE
        try:
            with tempfile.TemporaryDirectory(prefix="embedconsole-") as traces:
                session = self._open_session(graph, provider, threads, trace_prefix=str(Path(traces) / "first-run"))
                trace = _trace_first_run(session)
        except Exception as error:  # its exception types have no common base class
            reason = (str(error).splitlines() or [""])[0]
            raise ModelError(f"ONNX Runtime cannot load {graph}: {reason}") from error
        return OnnxModel(
            _SharedSession(session, threads),
            partial(self._open_session, graph, provider),
            dim=card.dim,
            pad_token_id=card.pad_token_id,
            trace=trace,
        )


@dataclass(slots=True)
class _SharedSession:
    """A session and the executor that uses it. Closing the model sets the session to None for all its executors."""

    session: onnxruntime.InferenceSession | None
    threads: int
    user: "weakref.ref[OnnxExecutor] | None" = None

    def is_available(self, threads: int) -> bool:
        """Whether another executor may use the session.

        One-thread sessions have no thread pool and are shared. A session with a pool serves one executor at a time.
        """
        free = self.user is None or self.user() is None
        return threads == self.threads and (threads == 1 or free)


class OnnxModel:
    """A loaded graph and its sessions."""

    computes_in_caller = True

    def __init__(
        self,
        shared: _SharedSession,
        open_another: Callable[[int], onnxruntime.InferenceSession],
        *,
        dim: int,
        pad_token_id: int,
        trace: OnnxTrace,
    ) -> None:
        self._sessions = [shared]
        self._open_another = open_another
        self._dim = dim
        self._pad_token_id = pad_token_id
        self._trace = trace
        self._inputs = input_names(shared.session) if shared.session else ()
        self._lock = threading.Lock()

    @property
    def dim(self) -> int:
        """Number of dimensions of a vector."""
        return self._dim

    @property
    def precision(self) -> str:
        """The precision in which most linear layers ran."""
        return self._trace.precision

    @property
    def evidence(self) -> str:
        """`36 of 36 linear layers int8, …`, from the runtime's trace of a first run."""
        return self._trace.evidence + ("" if self.packs else NOT_PACKED)

    @property
    def packs(self) -> bool:
        """Whether texts share rows."""
        return layout_of(self._inputs, self._pad_token_id).packs

    def executor(self, threads: int, *, row_tokens: int = _ROW_TOKENS) -> "OnnxExecutor":
        """Returns the forward pass of one instance. Raises ModelError after close()."""
        with self._lock:
            if not self._sessions:
                raise ModelError(_CLOSED)
            shared = next((one for one in self._sessions if one.is_available(threads)), None)
            if shared is None:
                shared = _SharedSession(self._open_another(threads), threads)
                self._sessions.append(shared)
            layout = layout_of(self._inputs, self._pad_token_id, row_tokens=row_tokens)
            executor = OnnxExecutor(shared, layout)
            shared.user = weakref.ref(executor)
            return executor

    def close(self) -> None:
        """Drops the sessions, including those of executors, and returns the memory to the system."""
        with self._lock:
            for shared in self._sessions:
                shared.session = None
            self._sessions.clear()
        release_memory()


class OnnxExecutor:
    """One instance: a layout of its own, and a session whose run() is thread-safe."""

    def __init__(self, shared: _SharedSession, layout: Layout) -> None:
        self._shared = shared
        self._layout = layout

    def __call__(self, texts: Sequence[TokenIds]) -> ModelOutput:
        """Runs one batch in the calling thread. Raises ModelError after close()."""
        return forward(self._layout, self._run, texts, owned=True)

    def _run(self, inputs: Mapping[str, IntArray]) -> Any:
        session = self._shared.session  # read once, because close() may run concurrently
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
    """Opens a session on `graph`. With `trace_prefix` it records its runs to that path until end_profiling().

    The memory arena stays on: without it, all-MiniLM-L6-v2 is 10 % slower (one thread, lengths 8-60, batches of 32).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors only, because warnings bypass logging and go to fd 2
    # Off, because it keeps a memory plan for every input shape, and nearly every batch has a new shape.
    options.enable_mem_pattern = False
    # Off, because spinning pool threads would occupy the cores that other instances need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if trace_prefix is not None:
        options.enable_profiling = True
        options.profile_file_prefix = trace_prefix
    return onnxruntime.InferenceSession(
        str(graph), options, providers=[provider], disabled_optimizers=list(disabled_fusions)
    )


def input_names(session: onnxruntime.InferenceSession) -> tuple[str, ...]:
    """Returns the names of the graph's inputs, which determine its layout."""
    return tuple(one.name for one in session.get_inputs())


def _trace_first_run(session: onnxruntime.InferenceSession) -> OnnxTrace:
    """Traces the kernels of a run of two tokens, which takes a few milliseconds.

    The optimiser rewrites the graph, so only a trace shows which kernels run.
    """
    (only,) = layout_of(input_names(session), 0)([[1, 1]])
    session.run(None, only.inputs)
    events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
    return OnnxTrace.of(
        event["args"] for event in events if event.get("cat") == "Node" and "op_name" in event.get("args", {})
    )


BACKEND = OnnxBackend()
