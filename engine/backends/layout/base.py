"""Converts the texts of a batch to the inputs of a graph, and the outputs of the graph to vectors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.scheduling.contract import ModelOutput, TokenIds

IntArray = NDArray[np.int64]
Infer = Callable[[Mapping[str, IntArray]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Runs a graph: inputs by name -> `unit` (…, dim) and `norms` (…). The leading axes, flattened, are the slots."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One run of the graph. The vector of text `texts[i]` is in slot `slots[i]` of the flattened output."""

    inputs: Mapping[str, IntArray]
    texts: Sequence[int]
    slots: Sequence[int]

    @property
    def computed_tokens(self) -> int:
        """Number of tokens in the inputs, including padding."""
        return next(iter(self.inputs.values())).size


class Layout(Protocol):
    """Arranges texts in passes. Belongs to one instance; the passes are valid until the next call."""

    packs: bool
    """Whether short texts share rows, so that a batch may mix lengths without waste."""

    def __call__(self, texts: Sequence[TokenIds]) -> Sequence[Pass]: ...


def forward(layout: Layout, infer: Infer, texts: Sequence[TokenIds], *, owned: bool) -> ModelOutput:
    """Returns the vectors of the texts. `owned` tells that `infer` returns new arrays and not its buffers.

    Copies nothing if one pass runs all texts, which is the common case. Raises ValueError for a batch without texts.
    """
    passes = layout(texts)
    if not passes:
        raise ValueError("a batch without texts has no vectors")
    rows = [0] * len(texts)
    if len(passes) == 1:
        (only,) = passes
        unit, norms = _flat(infer(only.inputs))
        for text, slot in zip(only.texts, only.slots, strict=True):
            rows[text] = slot
        return ModelOutput(unit, norms, rows, only.computed_tokens, owned)
    units, all_norms, first = [], [], 0
    for one in passes:  # copied, because the next pass may use the same buffers
        unit, norms = _flat(infer(one.inputs))
        units.append(unit[list(one.slots)])
        all_norms.append(norms[list(one.slots)])
        for row, text in enumerate(one.texts, start=first):
            rows[text] = row
        first += len(one.texts)
    computed_tokens = sum(one.computed_tokens for one in passes)
    return ModelOutput(np.concatenate(units), np.concatenate(all_norms), rows, computed_tokens, owned=True)


def _flat(output: tuple[NDArray[np.float32], NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns the outputs of the graph as (slots, dim) and (slots,), without a copy."""
    unit, norms = output
    return unit.reshape(-1, unit.shape[-1]), norms.reshape(-1)
