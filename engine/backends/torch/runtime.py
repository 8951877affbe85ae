"""PyTorch: the module that transformers built, in the fastest form there is for it, in inference mode."""

import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from torch import nn

from engine.backends.base import Cell
from engine.backends.layout.base import Rectangle
from engine.backends.layout.padding import Padding
from engine.backends.torch.lean_encoder import rows_for
from engine.backends.torch.module import load_module
from engine.backends.torch.optimised_module import form_of, is_unpadded
from engine.backends.torch.quantize import converted, linear_precisions
from engine.errors import ModelError
from engine.host.memory import release_memory
from engine.models.card import read_model_card
from engine.scheduling.contract import ModelOutput, TokenIds

_METAL = threading.Lock()
_FLOAT32_PRODUCTS = threading.Lock()
"""Whether CUDA rounds float32 products to TF32 is one switch for the whole process, and two deployments may differ.

It is read when a product is launched. Held any longer, the lock would let instances use the device one after the other.
"""
_TF32_ERROR = 2e-5
"""TF32 keeps 10 bits of a factor: its products differ from exact ones by 1e-4 and more, float32's by 1e-6."""


class TorchBackend:
    """Loads any cell of torch's on any device it knows; what is not a float is made while loading."""

    name = "torch"

    def load(self, artifact: Path, model_dir: Path, cell: Cell, threads: int) -> "TorchModel":
        """Loads the weights from the model's folder; the artifact holds reference vectors and scales alone.

        Raises ModelError.
        """
        card = read_model_card(model_dir, model_dir.name)
        torch.set_num_threads(threads)  # for the loading thread; executors set it for their own
        # On Hopper cuDNN's attention is preferred for bf16 and fp16, and it plans anew for every shape of a batch:
        # 32 texts took 43 ms instead of a few. The other kernels need no plan.
        torch.backends.cuda.enable_cudnn_sdp(False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations that are ours to know, not the user's
            try:
                module = converted(load_module(model_dir, card), cell, artifact, card.pad_token_id)
            except (RuntimeError, NotImplementedError, AssertionError) as error:  # no such device or kernel, no memory
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                raise ModelError(f"torch cannot load {cell.precision} on {cell.device}: {reason}") from error
        return TorchModel(module, card.dim, card.pad_token_id, torch.device(cell.device), tf32=cell.precision == "tf32")


class TorchModel:
    """One copy of the weights, shared by all instances."""

    computes_in_caller = True

    def __init__(self, module: nn.Module, dim: int, pad_token_id: int, device: torch.device, *, tf32: bool) -> None:
        self._module: nn.Module | None = module
        self._dim = dim
        self._pad_token_id = pad_token_id
        self._device = device
        self._tf32 = tf32
        self._parameters = Counter(parameter.dtype for parameter in module.parameters())
        self._linear = linear_precisions(module)
        self._form = form_of(module)
        self.is_unpadded = is_unpadded(module)
        self._product_error = _product_error(self.launching(), device) if self._is_float32_on_gpu() else 0.0

    @property
    def dim(self) -> int:
        """Dimensions of a vector."""
        return self._dim

    @property
    def precision(self) -> str:
        """That of most linear layers' weights; on a GPU float32 is told from TF32 by what a product comes to."""
        ((precision, _),) = self._linear.most_common(1)
        return "tf32" if self._product_error > _TF32_ERROR else precision

    @property
    def evidence(self) -> str:
        """`103 of 103 weight tensors are float32`, or for a quantised module its linear layers and the rest."""
        ((precision, count),) = self._linear.most_common(1)
        # Packed codes are integers: what is left alone is known by the floats.
        dtype, tensors = next(found for found in self._parameters.most_common() if found[0].is_floating_point)
        name = str(dtype).removeprefix("torch.")
        if precision in ("int8", "int4", "fp8"):
            return f"{count} of {self._linear.total()} linear layers {precision}, embeddings and layer norm {name}"
        if self._form:
            return f"{count} of {self._linear.total()} linear layers {precision}, {self._form}; the rest {name}"
        said = f"{tensors} of {self._parameters.total()} weight tensors are {name}"
        if self._is_float32_on_gpu():
            said += f", products on the device are off by {self._product_error:.0e}"
        return said

    def turn(self) -> AbstractContextManager[object]:
        """What a forward pass holds from its first copy to the device to its last one back."""
        # Metal crashes when two threads run operations at once; elsewhere threads may overlap.
        return _METAL if self._is_on_metal() else nullcontext()

    def launching(self) -> AbstractContextManager[object]:
        """What it holds in between, while it launches its work and does not wait for the device."""
        return _float32_products(tf32=self._tf32) if self._is_float32_on_gpu() else nullcontext()

    def _is_on_metal(self) -> bool:
        return self._device.type == "mps"

    def _is_float32_on_gpu(self) -> bool:
        return self._device.type == "cuda" and self._parameters.most_common(1)[0][0] == torch.float32

    @property
    def packs(self) -> bool:
        """A text a row."""
        return Padding.packs

    def executor(self, threads: int) -> "TorchExecutor":
        """One instance's forward pass."""
        return TorchExecutor(self, Padding(self._pad_token_id), self._device, threads)

    @property
    def module(self) -> nn.Module:
        """The weights. Raises ModelError after close()."""
        module = self._module  # read once: close() may come between two looks
        if module is None:
            raise ModelError("this deployment was released: nothing may run on it any more")
        return module

    def close(self) -> None:
        """Frees the weights, and gives the memory back to the system."""
        self._module = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        release_memory()


class TorchExecutor:
    """One instance: its own buffers and its own number of intra-op threads, the shared weights."""

    def __init__(self, model: TorchModel, padding: Padding, device: torch.device, threads: int) -> None:
        self._model = model
        self._padding = padding
        self._device = device
        self._threads = threads

    def __call__(self, texts: Sequence[TokenIds]) -> ModelOutput:
        """Runs one batch in the calling thread. Raises ModelError after close()."""
        # OpenMP and MKL keep this number per calling thread, which may be a new one or run other executors too.
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        (only,) = self._padding(texts)
        with self._model.turn(), torch.inference_mode():
            inputs = [self._on_device(one) for one in only.inputs.values()]
            with self._model.launching():
                unit, norms = self._model.module(*inputs)
            computed = rows_for(sum(map(len, texts))) if self._model.is_unpadded else only.computed_tokens
            return ModelOutput(unit.cpu().numpy(), norms.cpu().numpy(), range(len(texts)), computed, owned=True)

    def _on_device(self, rectangle: Rectangle) -> torch.Tensor:
        return torch.from_numpy(rectangle).to(self._device)


@contextmanager
def _float32_products(*, tf32: bool) -> Iterator[None]:
    with _FLOAT32_PRODUCTS:
        torch.backends.cuda.matmul.allow_tf32 = tf32
        yield


def _product_error(launching: AbstractContextManager[object], device: torch.device) -> float:
    """How far one product on the device is from the exact one, relative to the largest element."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(256, 256, generator=generator) for _ in range(2))
    exact = left.double() @ right.double()
    with torch.inference_mode():
        on_device = left.to(device), right.to(device)
        with launching:
            product = on_device[0] @ on_device[1]
        found = product.cpu().double()
    return float((found - exact).abs().max() / exact.abs().max())


BACKEND = TorchBackend()
