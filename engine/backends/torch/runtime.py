"""The PyTorch backend: the module built by transformers, optimised where possible, in inference mode."""

import threading
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch
from torch import nn

from engine.backends.base import Cell
from engine.backends.layout.base import IntArray
from engine.backends.layout.padding import Padding
from engine.backends.torch.lean_encoder import padded_row_count
from engine.backends.torch.module import load_module
from engine.backends.torch.optimised_module import describe_optimisation, is_unpadded
from engine.backends.torch.quantize import convert, linear_precisions
from engine.errors import ModelError
from engine.host.memory import release_memory
from engine.models.card import read_model_card
from engine.scheduling.contract import ModelOutput, TokenIds

_METAL_LOCK = threading.Lock()
"""Metal crashes when two threads run operations at the same time."""
_TF32_LOCK = threading.Lock()
"""Guards the process-wide flag that rounds float32 products to TF32 on CUDA; two deployments may need different values.

The flag is read when a product is launched. The lock is released before waiting for the device, so that instances run
concurrently.
"""
_TF32_MIN_ERROR = 2e-5
"""TF32 keeps 10 bits of a factor: its products have a relative error of 1e-4 or more, those of float32 1e-6."""


class TorchBackend:
    """Loads every torch cell on every device of torch. Integer precisions are quantised while loading."""

    name = "torch"

    def load(self, artifact: Path, model_dir: Path, cell: Cell, threads: int) -> "TorchModel":
        """Loads the weights from the folder of the model. The artifact contains only reference vectors and scales.

        Raises ModelError.
        """
        card = read_model_card(model_dir, model_dir.name)
        torch.set_num_threads(threads)  # of the loading thread; each executor sets its own
        # On Hopper torch prefers cuDNN attention for bf16 and fp16, which creates a plan for every shape of a batch:
        # 32 texts took 43 ms instead of a few. The other kernels need no plan.
        torch.backends.cuda.enable_cudnn_sdp(False)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations that do not concern the user
            try:
                module = convert(load_module(model_dir, card), cell, artifact, card.pad_token_id)
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
        self._optimisation = describe_optimisation(module)
        self.is_unpadded = is_unpadded(module)
        self._matmul_error = _matmul_error(self.float32_mode(), device) if self._is_float32_on_gpu() else 0.0

    @property
    def dim(self) -> int:
        """Number of dimensions of a vector."""
        return self._dim

    @property
    def precision(self) -> str:
        """The precision of the weights of most linear layers. On a GPU, the error of a product identifies TF32."""
        ((precision, _),) = self._linear.most_common(1)
        return "tf32" if self._matmul_error > _TF32_MIN_ERROR else precision

    @property
    def evidence(self) -> str:
        """`103 of 103 weight tensors are float32`; a quantised module lists its linear layers and the rest."""
        ((precision, count),) = self._linear.most_common(1)
        # Quantised weights are integers, so the floats are the weights that are not quantised.
        dtype, tensors = next(entry for entry in self._parameters.most_common() if entry[0].is_floating_point)
        name = str(dtype).removeprefix("torch.")
        if precision in ("int8", "int4", "fp8"):
            return f"{count} of {self._linear.total()} linear layers {precision}, embeddings and layer norm {name}"
        if self._optimisation:
            return f"{count} of {self._linear.total()} linear layers {precision}, {self._optimisation}; the rest {name}"
        evidence = f"{tensors} of {self._parameters.total()} weight tensors are {name}"
        if self._is_float32_on_gpu():
            evidence += f", products on the device are off by {self._matmul_error:.0e}"
        return evidence

    def device_lock(self) -> AbstractContextManager[object]:
        """Returns the lock of a whole forward pass, copies to and from the device included. Only Metal needs one."""
        return _METAL_LOCK if self._is_on_metal() else nullcontext()

    def float32_mode(self) -> AbstractContextManager[object]:
        """Returns the context in which a pass launches its work. It is left before waiting for the device."""
        return _float32_products(tf32=self._tf32) if self._is_float32_on_gpu() else nullcontext()

    def _is_on_metal(self) -> bool:
        return self._device.type == "mps"

    def _is_float32_on_gpu(self) -> bool:
        return self._device.type == "cuda" and self._parameters.most_common(1)[0][0] == torch.float32

    @property
    def packs(self) -> bool:
        """Always False: one text per row."""
        return Padding.packs

    def executor(self, threads: int) -> "TorchExecutor":
        """Returns the forward pass of one instance."""
        return TorchExecutor(self, Padding(self._pad_token_id), self._device, threads)

    @property
    def module(self) -> nn.Module:
        """The module with its weights. Raises ModelError after close()."""
        module = self._module  # read once, because close() may run concurrently
        if module is None:
            raise ModelError("this deployment was released and cannot run any more")
        return module

    def close(self) -> None:
        """Frees the weights, and returns the memory to the system."""
        self._module = None
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        release_memory()


class TorchExecutor:
    """One instance: buffers and a number of intra-op threads of its own, on the shared weights."""

    def __init__(self, model: TorchModel, padding: Padding, device: torch.device, threads: int) -> None:
        self._model = model
        self._padding = padding
        self._device = device
        self._threads = threads

    def __call__(self, texts: Sequence[TokenIds]) -> ModelOutput:
        """Runs one batch in the calling thread. Raises ModelError after close()."""
        # OpenMP and MKL store this number per thread, and the calling thread may be new or run other executors too.
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        (only,) = self._padding(texts)
        with self._model.device_lock(), torch.inference_mode():
            inputs = [self._on_device(one) for one in only.inputs.values()]
            with self._model.float32_mode():
                unit, norms = self._model.module(*inputs)
            computed = padded_row_count(sum(map(len, texts))) if self._model.is_unpadded else only.computed_tokens
            return ModelOutput(unit.cpu().numpy(), norms.cpu().numpy(), range(len(texts)), computed, owned=True)

    def _on_device(self, array: IntArray) -> torch.Tensor:
        return torch.from_numpy(array).to(self._device)


@contextmanager
def _float32_products(*, tf32: bool) -> Iterator[None]:
    with _TF32_LOCK:
        torch.backends.cuda.matmul.allow_tf32 = tf32
        yield


def _matmul_error(float32_mode: AbstractContextManager[object], device: torch.device) -> float:
    """Returns the largest error of a product on the device, relative to its largest element."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(256, 256, generator=generator) for _ in range(2))
    exact = left.double() @ right.double()
    with torch.inference_mode():
        on_device = left.to(device), right.to(device)
        with float32_mode:
            product = on_device[0] @ on_device[1]
        result = product.cpu().double()
    return float((result - exact).abs().max() / exact.abs().max())


BACKEND = TorchBackend()
