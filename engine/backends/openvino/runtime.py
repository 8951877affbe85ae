"""OpenVINO on CPUs: one compiled model whose streams the instances share, in the precision that was pinned."""

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
from engine.backends.layout.base import Layout, Rectangle, forward
from engine.backends.layout.packing import ONE_TEXT_A_ROW, ROW_TOKENS, layout_of
from engine.errors import ModelError
from engine.host.machine import cores
from engine.host.memory import release_memory
from engine.models.card import read_model_card
from engine.scheduling.contract import ModelOutput, TokenIds

MODEL_FILE = "openvino.xml"
_PINNED = {"bf16": "bf16", "fp16": "f16"}
"""What the runtime may compute floats in; f32 for all others, because unasked it may take bf16."""
_NAMES = {
    "f32": "fp32", "f16": "fp16", "bf16": "bf16", "i8": "int8", "u8": "int8", "i4": "int4", "u4": "int4", "nf4": "int4",
}  # fmt: skip
_SAID = ("layerType", "runtimePrecision", "primitiveType")
_SENSITIVE = {"Softmax": "softmax", "MVN": "layer norm"}
_CLOSED = "this deployment was released: nothing may run on it any more"


class OpenVinoBackend:
    """Loads the model that the preparer left; its precision is a property of that model, or pinned for floats."""

    name = "openvino"

    def load(self, artifact: Path, model_dir: Path, cell: Cell, threads: int) -> "OpenVinoModel":
        """Compiles the artifact's model with streams of `threads` threads. Raises ModelError."""
        if cell.device != "cpu":
            raise ModelError(f"openvino has no device {cell.device} here: choose cpu")
        card = read_model_card(model_dir, model_dir.name)
        path = artifact / MODEL_FILE
        compiled = partial(_compile, path, _PINNED.get(cell.precision, "f32"))
        try:
            return OpenVinoModel(compiled, threads, card.dim, card.pad_token_id)
        except RuntimeError as error:
            reason = (str(error).strip().splitlines() or [""])[-1]
            raise ModelError(f"OpenVINO cannot load {path}: {reason}") from error


class OpenVinoModel:
    """A compiled model: one copy of the weights for all streams."""

    computes_in_caller = False
    """Two streams and more have threads of their own, which the runtime keeps on their cores itself; a single one gives
    the calling thread back every core."""

    def __init__(self, compile_for: Callable[[int], Any], threads: int, dim: int, pad_token_id: int) -> None:
        self._compile_for = compile_for
        self._compiled: dict[int, Any] = {threads: compile_for(threads)}  # by the threads of a stream
        self._dim = dim
        self._pad_token_id = pad_token_id
        self._nodes = _executed(self._compiled[threads])
        self._inputs = [one.any_name for one in self._compiled[threads].inputs]
        self._lock = threading.Lock()
        self._executors: weakref.WeakSet[OpenVinoExecutor] = weakref.WeakSet()

    @property
    def dim(self) -> int:
        """Dimensions of a vector."""
        return self._dim

    @property
    def precision(self) -> str:
        """That of most linear layers, as the compiled model says."""
        ((precision, _),) = self._linear().most_common(1)
        return precision

    @property
    def evidence(self) -> str:
        """`36 of 36 linear layers int8, softmax and layer norm fp32`, read from the compiled model's own graph."""
        linear = self._linear()
        ((precision, count),) = linear.most_common(1)
        parts = [f"{count} of {linear.total()} linear layers {precision}"]
        if precision in ("int8", "int4") and self._computes_in_floats():
            parts[0] += " weights computed in float"
        sensitive = {(_SENSITIVE[node.kind], node.precision) for node in self._nodes if node.kind in _SENSITIVE}
        for precision in sorted({precision for _, precision in sensitive}):
            names = sorted((name for name, own in sensitive if own == precision), reverse=True)
            parts.append(f"{' and '.join(names)} {precision}")
        return ", ".join(parts) + ("" if self.packs else ONE_TEXT_A_ROW)

    @property
    def packs(self) -> bool:
        """Whether texts share rows."""
        return layout_of(self._inputs, self._pad_token_id).packs

    def executor(self, threads: int, *, row_tokens: int = ROW_TOKENS) -> "OpenVinoExecutor":
        """One instance's forward pass. Raises ModelError after close()."""
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
        """Drops the model and its executors' requests, and gives the memory back to the system."""
        with self._lock:
            for executor in self._executors:
                executor.close()
            self._compiled.clear()
        release_memory()

    def _linear(self) -> Counter[str]:
        return Counter(node.precision for node in self._nodes if node.kind == "FullyConnected")

    def _computes_in_floats(self) -> bool:
        """Whether small weights are widened before they are multiplied: their kernel is then one for floats."""
        kernels = [node.kernel.lower() for node in self._nodes if node.kind == "FullyConnected"]
        return sum(kernel.endswith(("f32", "f16")) for kernel in kernels) > len(kernels) / 2


@dataclass(frozen=True, slots=True)
class _Node:
    """One node of a compiled graph."""

    kind: str
    precision: str
    kernel: str


class OpenVinoExecutor:
    """One instance: its own layout and its own request; a stream of the shared model does the work."""

    def __init__(self, request: Any, layout: Layout) -> None:
        self._request: Any = request
        self._layout = layout

    def __call__(self, texts: Sequence[TokenIds]) -> ModelOutput:
        """Runs one batch; the calling thread waits for it. Raises ModelError after close()."""
        return forward(self._layout, self._run, texts, owned=False)

    def _run(self, inputs: Mapping[str, Rectangle]) -> Any:
        request = self._request
        if request is None:
            raise ModelError(_CLOSED)
        request.infer(inputs, share_inputs=True)
        return request.get_tensor("unit").data, request.get_tensor("norms").data

    def close(self) -> None:
        """Drops the request."""
        self._request = None


def _compile(path: Path, floats: str, threads: int) -> Any:
    """Streams of `threads` threads, as many as the cores hold. An unused stream costs nothing.

    Measured on all-MiniLM-L6-v2, two instances of one thread: two streams of one model are 1.1 to 1.2 times as fast as
    two models of one stream, and pinned threads 1.1 times as fast as free ones.
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
            # Kernels that it keeps, a few for each shape; by default 5,000. Packed rows have a hundred or so shapes:
            # with 512 mixed lengths are 3 to 21 % faster than with 64, for 90 MB of static int8's 655.
            "CPU_RUNTIME_CACHE_CAPACITY": "512",
        },
    )


def _executed(compiled: Any) -> list[_Node]:
    """Every node of the compiled graph: its kind, the precision it runs in and the kernel chosen for it."""
    nodes = []
    for node in compiled.get_runtime_model().get_ops():
        said = {name: value.astype(str) for name, value in node.get_rt_info().items() if name in _SAID}
        precision = said.get("runtimePrecision", "")
        nodes.append(_Node(said.get("layerType", ""), _NAMES.get(precision, precision), said.get("primitiveType", "")))
    return nodes


BACKEND = OpenVinoBackend()
