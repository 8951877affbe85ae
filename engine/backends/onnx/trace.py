"""Reads the precision from ONNX Runtime's trace of a run: its kernels and their element types."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_FLOAT_PRODUCTS = frozenset(("MatMul", "FusedMatMul", "Gemm", "FusedGemm"))
_QUANTISED_PRODUCTS = {
    "DynamicQuantizeMatMul": "int8", "MatMulIntegerToFloat": "int8", "MatMulInteger": "int8", "QLinearMatMul": "int8",
    "QGemm": "int8", "MatMulNBits": "int4",
}  # fmt: skip
"""Precision of the weights by kernel. MatMulNBits computes in the type of its float input; only 4 bits are used."""
_SENSITIVE = {"Softmax": "softmax", "LayerNormalization": "layer norm", "SkipLayerNormalization": "layer norm"}
_PRECISIONS = {"float": "fp32", "float16": "fp16", "bfloat16": "bf16"}
_NAMES = {"float": "float32"}


@dataclass(frozen=True, slots=True)
class OnnxTrace:
    """Counts of the kernels of one run."""

    floats: Counter[str]
    """Matrix multiplications of activations or with float weights, by element type."""
    quantised: Counter[str]
    """Matrix multiplications with quantised weights, by precision."""
    linear_floats: int
    """Number of `floats` that are linear layers: one operand is a weight matrix."""
    sensitive: Counter[tuple[str, str]]
    """Softmax and layer norm, by name and element type."""

    @classmethod
    def of(cls, kernels: Iterable[Mapping[str, Any]]) -> "OnnxTrace":
        """Counts the `args` of the node events of a profile."""
        floats: Counter[str] = Counter()
        quantised: Counter[str] = Counter()
        sensitive: Counter[tuple[str, str]] = Counter()
        linear_floats = 0
        for kernel in kernels:
            name, inputs = kernel["op_name"], kernel.get("input_type_shape", [])
            dtype = next(iter(inputs[0]), "") if inputs else ""
            if name in _FLOAT_PRODUCTS:
                floats[dtype] += 1
                # A weight matrix is prepacked and not listed, or has two axes; attention's operands have more.
                linear_floats += len(inputs) == 1 or len(next(iter(inputs[1].values()))) == 2
            elif name in _QUANTISED_PRODUCTS:
                quantised[_QUANTISED_PRODUCTS[name]] += 1
            elif "MatMul" in name:
                floats[name] += 1
            elif name in _SENSITIVE:
                sensitive[_SENSITIVE[name], dtype] += 1
        return cls(floats, quantised, linear_floats, sensitive)

    @property
    def precision(self) -> str:
        """The precision of most linear layers."""
        if self.quantised.total() > self.linear_floats:
            return self.quantised.most_common(1)[0][0]
        ((dtype, _),) = self.floats.most_common(1)
        return _PRECISIONS.get(dtype, dtype)

    @property
    def evidence(self) -> str:
        """`48 of 48 matrix multiplications ran in float32`; a quantised graph lists linear layers and the rest."""
        if not self.quantised:
            ((dtype, count),) = self.floats.most_common(1)
            return f"{count} of {self.floats.total()} matrix multiplications ran in {_NAMES.get(dtype, dtype)}"
        ((precision, count),) = self.quantised.most_common(1)
        linear = self.quantised.total() + self.linear_floats
        what = f"{precision} weights" if precision == "int4" else precision
        return ", ".join([f"{count} of {linear} linear layers {what}", *self._rest()])

    def _rest(self) -> list[str]:
        parts = []
        attention = self.floats.total() - self.linear_floats
        if attention:
            ((dtype, _),) = self.floats.most_common(1)
            parts.append(f"{attention} products between activations {_NAMES.get(dtype, dtype)}")
        for dtype in dict.fromkeys(dtype for _, dtype in self.sensitive):
            names = sorted({name for name, other in self.sensitive if other == dtype}, reverse=True)
            parts.append(f"{' and '.join(names)} {_NAMES.get(dtype, dtype)}")
        return parts
