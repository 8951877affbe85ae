"""Linear layers computed by oneDNN, with weights reordered once to its layout."""

import platform
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

_EXPECTED_ROWS = 512
"""Number of rows that the layout of the weights is chosen for. Measured: other numbers are as fast with it."""

_ACTIVATIONS = {"none": ("none", ""), "gelu": ("gelu", "none"), "tanh-gelu": ("gelu", "tanh"), "relu": ("relu", "")}
"""(attribute, algorithm) of the operations that torch.compile uses. No public operation takes reordered weights."""


def can_multiply(dtype: torch.dtype) -> bool:
    """Returns whether oneDNN is faster for weights of this dtype on this machine.

    Only on x86, where torch multiplies float32 with MKL. It was not measured on other processors.
    """
    onednn: Any = torch.backends.mkldnn  # it has no types
    if platform.machine().lower() not in ("x86_64", "amd64") or not onednn.is_available():
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - it has no public name
    return dtype == torch.float32


class OneDnnLinear(nn.Module):
    """One or more linear layers on the same input, computed as one, with a fused activation.

    `activation` is none, gelu, tanh-gelu or relu. It is applied to each block of the product while the block is in the
    cache.
    """

    def __init__(self, layers: Sequence[nn.Linear], activation: str = "none") -> None:
        super().__init__()
        weight = torch.cat([layer.weight.detach() for layer in layers])
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        self.weight: Tensor
        self.register_buffer("weight", torch.ops.mkldnn._reorder_linear_weight(weight, _EXPECTED_ROWS))  # noqa: SLF001 - see above
        self.bias: Tensor | None
        self.register_buffer("bias", torch.cat(biases) if biases else None)
        self._activation, self._algorithm = _ACTIVATIONS[activation]
        self._product = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001 - see above

    def forward(self, values: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        product: Tensor = self._product(values, self.weight, self.bias, self._activation, [], self._algorithm)
        return product

    def plus(self, values: Tensor, residual: Tensor) -> Tensor:
        """Returns the product plus `residual`, (rows, out), without an activation."""
        total: Tensor = self._product.binary(values, residual, self.weight, self.bias, "add")
        return total
