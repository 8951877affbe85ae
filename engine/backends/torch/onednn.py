"""Linear layers through oneDNN, the weights once and for all in its own layout."""

import platform
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

_USUAL_ROWS = 512
"""What the layout of the weights is chosen for; products of other sizes were as fast with it."""

_ACTIVATIONS = {"none": ("none", ""), "gelu": ("gelu", "none"), "tanh-gelu": ("gelu", "tanh"), "relu": ("relu", "")}
"""As torch.compile names them, whose operations these are: torch has no public ones that keep reordered weights."""


def can_multiply(dtype: torch.dtype) -> bool:
    """Whether weights of this type gain from oneDNN here.

    x86 alone: there torch multiplies float32 with MKL. Elsewhere this was never measured.
    """
    onednn: Any = torch.backends.mkldnn  # it carries no types
    if platform.machine().lower() not in ("x86_64", "amd64") or not onednn.is_available():
        return False
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001 - there is no public name for it
    return dtype == torch.float32


class OneDnnLinear(nn.Module):
    """Linear layers over the same input as one, with the activation that follows them, if any.

    `activation` is none, gelu, tanh-gelu or relu; it is applied to each block of the product while it is in the cache.
    """

    def __init__(self, layers: Sequence[nn.Linear], activation: str = "none") -> None:
        super().__init__()
        weight = torch.cat([layer.weight.detach() for layer in layers])
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        self.weight: Tensor
        self.register_buffer("weight", torch.ops.mkldnn._reorder_linear_weight(weight, _USUAL_ROWS))  # noqa: SLF001 - see above
        self.bias: Tensor | None
        self.register_buffer("bias", torch.cat(biases) if biases else None)
        self._activation, self._algorithm = _ACTIVATIONS[activation]
        self._product = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001 - see above

    def forward(self, values: Tensor) -> Tensor:
        """(…, in) -> (…, out)."""
        product: Tensor = self._product(values, self.weight, self.bias, self._activation, [], self._algorithm)
        return product

    def plus(self, values: Tensor, residual: Tensor) -> Tensor:
        """The product added to `residual`, (rows, out), without an activation."""
        total: Tensor = self._product.binary(values, residual, self.weight, self.bias, "add")
        return total
