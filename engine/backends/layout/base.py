"""How the texts of a batch become a graph's inputs, and its outputs the texts' vectors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.scheduling.contract import TokenIds, Vectors

Rectangle = NDArray[np.int64]
Infer = Callable[[Mapping[str, Rectangle]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""A graph: inputs by name to `unit` (…, dim) and `norms` (…), whose leading axes are the vectors' places."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One run of the graph. The vector of `texts[i]` comes out at the flattened place `places[i]`."""

    inputs: Mapping[str, Rectangle]
    texts: Sequence[int] | slice
    places: Sequence[int] | slice

    @property
    def computed_tokens(self) -> int:
        """Tokens of the inputs, padding included."""
        return next(iter(self.inputs.values())).size


class Layout(Protocol):
    """Makes passes of texts. One instance's own; the passes are valid until its next call."""

    packs: bool
    """Whether short texts share rows, so that a batch of unlike lengths wastes nothing."""

    def __call__(self, texts: Sequence[TokenIds]) -> Sequence[Pass]: ...


def forward(layout: Layout, infer: Infer, texts: Sequence[TokenIds]) -> Vectors:
    """The texts' vectors in their order, copied out of whatever buffers `infer` owns."""
    computed_tokens = 0
    unit: NDArray[np.float32] | None = None
    norms: Any = None
    for one in layout(texts):
        raw_unit, raw_norms = infer(one.inputs)
        dim = raw_unit.shape[-1]
        if unit is None:
            unit, norms = np.empty((len(texts), dim), np.float32), np.empty(len(texts), np.float32)
        unit[one.texts] = raw_unit.reshape(-1, dim)[one.places]
        norms[one.texts] = raw_norms.reshape(-1)[one.places]
        computed_tokens += one.computed_tokens
    if unit is None:
        raise ValueError("a batch without texts has no vectors")
    return Vectors(unit, norms, computed_tokens)
