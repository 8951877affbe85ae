"""The interface of a backend, which loads a prepared artifact and creates executors."""

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
    """Weights in memory, shared by all instances."""

    @property
    def dim(self) -> int:
        """Number of dimensions of a vector."""
        ...

    @property
    def precision(self) -> str:
        """The effective precision, read from the loaded model and not from the request."""
        ...

    @property
    def evidence(self) -> str:
        """Evidence of the effective precision, e.g. `74 of 74 weight tensors float32`."""
        ...

    @property
    def packs(self) -> bool:
        """Whether short texts share rows of a pass, so that a batch may mix lengths without waste."""
        ...

    @property
    def computes_in_caller(self) -> bool:
        """Whether a one-thread pass runs in the calling thread and not in a thread of the runtime."""
        ...

    def executor(self, threads: int) -> Executor:
        """Returns the forward pass of one instance, with `threads` intra-op threads. Not thread-safe."""
        ...

    def close(self) -> None:
        """Frees the weights. Executors must not be called afterwards."""
        ...


class Backend(Protocol):
    """A runtime. Only the module of its backend may import it, because the import is slow."""

    name: str

    def load(self, artifact: Path, model_dir: Path, cell: Cell, threads: int) -> LoadedModel:
        """Loads the prepared files in `artifact`. Raises ModelError with the next step."""
        ...
