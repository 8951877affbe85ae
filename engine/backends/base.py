"""What a backend is: something that loads a prepared artifact and makes executors from it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engine.scheduling.contract import Executor


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One point of the capability matrix: what runs, in which precision, on which device, and how it gets there."""

    backend: str
    precision: str
    device: str
    recipe: str = ""
    """Empty: the default recipe, or no recipe exists."""

    def __str__(self) -> str:
        return f"{self.backend} {self.precision} on {self.device}"


class LoadedModel(Protocol):
    """Weights in memory, shared by the instances made from them."""

    @property
    def dim(self) -> int:
        """Dimensions of a vector."""
        ...

    @property
    def precision(self) -> str:
        """The effective precision, read from what was loaded, never from what was asked for."""
        ...

    @property
    def evidence(self) -> str:
        """How the effective precision is known, in words: `74 of 74 weight tensors float32`."""
        ...

    @property
    def packs(self) -> bool:
        """Whether short texts share rows of a pass, so that batches need not be of like lengths."""
        ...

    @property
    def computes_in_caller(self) -> bool:
        """Whether a one-thread pass runs in the calling thread, not in one of the runtime's own."""
        ...

    def executor(self, threads: int) -> Executor:
        """One instance's forward pass with `threads` intra-op threads. For one thread at a time."""
        ...

    def close(self) -> None:
        """Frees the weights. No executor may be called afterwards."""
        ...


class Backend(Protocol):
    """A runtime. Importing its module is what costs; nothing else may import the runtime."""

    name: str

    def load(self, artifact: Path, model_dir: Path, cell: Cell, threads: int) -> LoadedModel:
        """Loads what the preparer left in `artifact`. Raises ModelError with the next step when it cannot."""
        ...
