"""The OpenVINO backend on CPUs. Instances share the streams of one compiled model."""

import threading
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import openvino

from engine.backends.base import Cell
from engine.backends.layout.base import IntArray, Layout, forward
from engine.backends.layout.packing import NOT_PACKED, ROW_TOKENS, layout_of
from engine.errors import ModelError
from engine.host.machine import cores
from engine.host.memory import release_memory
from engine.models.card import read_model_card
from engine.scheduling.contract import ModelOutput, TokenIds

MODEL_FILE = "openvino.xml"
_FLOAT_HINTS = {"bf16": "bf16", "fp16": "f16"}
"""INFERENCE_PRECISION_HINT by precision; f32 for all others, because the default may be bf16."""
_NAMES = {
    "f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8", "i4": "int4", "u4": "int4", "nf4": "int4",
}  # fmt: skip
_RT_INFO_KEYS = ("layerType", "runtimePrecision", "primitiveType")
_SENSITIVE = {"Softmax": "softmax", "MVN": "layer norm"}
_CLOSED = "this deployment was released and cannot run any more"


class OpenVinoBackend:
    """Loads the prepared model. The precision is a property of the model, or set by a hint for float types."""

    name = "openvino"

    def load(self, artifact: Path, model_dir: Path, cell: Cell, threads: int) -> "OpenVinoModel":
        """Compiles the model of the artifact with `threads` threads per stream. Raises ModelError."""
        if cell.device != "cpu":
            raise ModelError(f"openvino does not support device {cell.device}: choose cpu")
        card = read_model_card(model_dir, model_dir.name)
        path = artifact / MODEL_FILE
        compiled = partial(_compile, path, _FLOAT_HINTS.get(cell.precision, "f32"))
        try:
            return OpenVinoModel(compiled, threads, card.dim, card.pad_token_id)
        except RuntimeError as error:
            reason = (str(error).strip().splitlines() or [""])[-1]
            raise ModelError(f"OpenVINO cannot load {path}: {reason}") from error


class OpenVinoModel:
    """A compiled model. All streams share one copy of the weights."""

    computes_in_caller = False
    """With two or more streams, the runtime computes in its own threads and pins them. With one stream, it resets the
    affinity of the calling thread to all cores."""

    def __init__(self, compile_for: Callable[[int], Any], threads: int, dim: int, pad_token_id: int) -> None:
        self._compile_for = compile_for
        self._compiled: dict[int, Any] = {threads: compile_for(threads)}  # by threads per stream
        self._dim = dim
        self._pad_token_id = pad_token_id
        self._nodes = _executed_nodes(self._compiled[threads])
        self._inputs = [one.any_name for one in self._compiled[threads].inputs]
        self._lock = threading.Lock()
        self._executors: weakref.WeakSet[OpenVinoExecutor] = weakref.WeakSet()

    @property
    def dim(self) -> int:
        """Number of dimensions of a vector."""
        return self._dim

    @property
    def precision(self) -> str:
        """The precision of most linear layers, read from the compiled model."""
        ((precision, _),) = self._linear().most_common(1)
        return precision

    @property
    def evidence(self) -> str:
        """`36 of 36 linear layers int8, softmax and layer norm fp32`, read from the compiled graph."""
        linear = self._linear()
        ((precision, count),) = linear.most_common(1)
        parts = [f"{count} of {linear.total()} linear layers {precision}"]
        if precision in ("int8", "int4") and self._computes_in_floats():
            parts[0] += " weights computed in float"
        sensitive = {(_SENSITIVE[node.kind], node.precision) for node in self._nodes if node.kind in _SENSITIVE}
        for precision in sorted({precision for _, precision in sensitive}):
            names = sorted((name for name, other in sensitive if other == precision), reverse=True)
            parts.append(f"{' and '.join(names)} {precision}")
        return ", ".join(parts) + ("" if self.packs else NOT_PACKED)

    @property
    def packs(self) -> bool:
        """Whether texts share rows."""
        return layout_of(self._inputs, self._pad_token_id).packs

    def executor(self, threads: int, *, row_tokens: int = ROW_TOKENS) -> "OpenVinoExecutor":
        """Returns the forward pass of one instance. Raises ModelError after close()."""
        with self._lock:
            if not self._compiled:
                raise ModelError(_CLOSED)
            if threads not in self._compiled:
                self._compiled[threads] = self._compile_for(threads)
            request = self._compiled[threads].create_infer_request()
            layout = layout_of(self._inputs, self._pad_token_id, row_tokens=row_tokens, few_shapes=True)
            executor = OpenVinoExecutor(request, layout)
            self._executors.add(executor)
            return executor

    def close(self) -> None:
        """Drops the model and the requests of its executors, and returns the memory to the system."""
        with self._lock:
            for executor in self._executors:
                executor.close()
            self._compiled.clear()
        release_memory()

    def _linear(self) -> Counter[str]:
        return Counter(node.precision for node in self._nodes if node.kind == "FullyConnected")

    def _computes_in_floats(self) -> bool:
        """Whether quantised weights are decompressed before the multiplication, which then uses a float kernel."""
        kernels = [node.kernel.lower() for node in self._nodes if node.kind == "FullyConnected"]
        return sum(kernel.endswith(("f32", "f16")) for kernel in kernels) > len(kernels) / 2


@dataclass(frozen=True, slots=True)
class _Node:
    """One node of a compiled graph."""

    kind: str
    precision: str
    kernel: str


class OpenVinoExecutor:
    """One instance: a layout and a request of its own, which runs on a stream of the shared model."""

    def __init__(self, request: Any, layout: Layout) -> None:
        self._request: Any = request
        self._layout = layout

    def __call__(self, texts: Sequence[TokenIds]) -> ModelOutput:
        """Runs one batch and blocks until it is done. Raises ModelError after close()."""
        return forward(self._layout, self._run, texts, owned=False)

    def _run(self, inputs: Mapping[str, IntArray]) -> Any:
        request = self._request
        if request is None:
            raise ModelError(_CLOSED)
        request.infer(inputs, share_inputs=True)
        return request.get_tensor("unit").data, request.get_tensor("norms").data

    def close(self) -> None:
        """Drops the request."""
        self._request = None


def _compile(path: Path, floats: str, threads: int) -> Any:
    """Compiles the model with as many streams of `threads` threads as there are cores. Unused streams are free.

    Measured on all-MiniLM-L6-v2, two instances of one thread: two streams of one model are 1.1 to 1.2 times as fast as
    two models of one stream, and pinned threads are 1.1 times as fast as unpinned ones.
    """
    streams = max(1, cores() // threads)
    return openvino.Core().compile_model(
        path,
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": floats,
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams * threads,
            "ENABLE_CPU_PINNING": True,
            # Cached kernels, a few per shape (default 5,000). Packed rows have about a hundred shapes: with 512,
            # mixed lengths are 3 to 21 % faster than with 64, and static int8 uses 90 MB of its 655 MB for them.
            "CPU_RUNTIME_CACHE_CAPACITY": "512",
        },
    )


def _executed_nodes(compiled: Any) -> list[_Node]:
    """Returns every node of the compiled graph with its type, its precision and its kernel."""
    nodes = []
    for node in compiled.get_runtime_model().get_ops():
        info = {name: value.astype(str) for name, value in node.get_rt_info().items() if name in _RT_INFO_KEYS}
        precision = info.get("runtimePrecision", "")
        nodes.append(_Node(info.get("layerType", ""), _NAMES.get(precision, precision), info.get("primitiveType", "")))
    return nodes


BACKEND = OpenVinoBackend()
