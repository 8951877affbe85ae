"""PyTorch: the module as transformers built it, in inference mode."""

import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch

from engine.backends.base import Cell
from engine.backends.memory import release_memory
from engine.backends.module import SentenceModule, load_module
from engine.backends.padding import Padding, Rectangle
from engine.card import read_card
from engine.errors import ModelError
from engine.scheduling.work import TokenIds, Vectors

_PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
_MODULE_DTYPES = {"fp32": torch.float32}
"""What can be loaded today; a precision that only changes the parameters' dtype is one more line here."""
_METAL = threading.Lock()


class TorchBackend:
    """Loads any cell whose precision is a parameter dtype, on any device torch knows."""

    name = "torch"

    def load(self, artifact: Path, model_dir: Path, cell: Cell, threads: int) -> "TorchModel":
        """Loads the weights from the model's folder; the artifact holds only reference vectors. Raises ModelError."""
        dtype = _MODULE_DTYPES.get(cell.precision)
        if dtype is None:
            raise ModelError(f"torch has no {cell.precision} here yet: choose one of {', '.join(_MODULE_DTYPES)}")
        card = read_card(model_dir, model_dir.name)
        torch.set_num_threads(threads)  # for the loading thread; executors set it for their own
        try:
            module = load_module(model_dir, card).to(device=cell.device, dtype=dtype)
        except RuntimeError as error:  # no such device, or not enough memory on it
            raise ModelError(f"torch cannot load on {cell.device}: {str(error).splitlines()[0]}") from error
        return TorchModel(module, card.dim, card.pad_token_id, torch.device(cell.device))


class TorchModel:
    """One copy of the weights, shared by all instances."""

    def __init__(self, module: SentenceModule, dim: int, pad_token_id: int, device: torch.device) -> None:
        self._module: SentenceModule | None = module
        self._dim = dim
        self._pad_token_id = pad_token_id
        self._device = device
        self._dtypes = Counter(parameter.dtype for parameter in module.parameters())

    @property
    def dim(self) -> int:
        """Dimensions of a vector."""
        return self._dim

    @property
    def precision(self) -> str:
        """That of most weight tensors."""
        ((dtype, _),) = self._dtypes.most_common(1)
        return _PRECISIONS.get(dtype, str(dtype))

    @property
    def evidence(self) -> str:
        """`103 of 103 weight tensors are float32`, counted over the parameters that were loaded."""
        ((dtype, count),) = self._dtypes.most_common(1)
        name = str(dtype).removeprefix("torch.")
        return f"{count} of {self._dtypes.total()} weight tensors are {name}"

    def executor(self, threads: int) -> "TorchExecutor":
        """One instance's forward pass."""
        return TorchExecutor(self, Padding(self._pad_token_id), self._device, threads)

    @property
    def module(self) -> SentenceModule:
        """The weights. Raises ModelError after close()."""
        if self._module is None:
            raise ModelError("this deployment was released: nothing may run on it any more")
        return self._module

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
        self._ready = False
        # Metal crashes when two threads run operations at once; elsewhere threads are free to overlap.
        self._turn = _METAL if device.type == "mps" else nullcontext()

    def __call__(self, texts: Sequence[TokenIds]) -> Vectors:
        """Runs one batch in the calling thread. Raises ModelError after close()."""
        if not self._ready:
            torch.set_num_threads(self._threads)  # OpenMP and MKL keep this number per calling thread
            self._ready = True
        ids, mask = self._padding(texts)
        with self._turn, torch.inference_mode():
            unit, norms = self._model.module(self._on_device(ids), self._on_device(mask))
            return Vectors(unit.cpu().numpy(), norms.cpu().numpy())

    def _on_device(self, rectangle: Rectangle) -> torch.Tensor:
        return torch.from_numpy(rectangle).to(self._device)


BACKEND = TorchBackend()
