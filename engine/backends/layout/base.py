"""How the texts of a batch become a graph's inputs, and its outputs the texts' vectors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.scheduling.contract import ModelOutput, TokenIds

Rectangle = NDArray[np.int64]
Infer = Callable[[Mapping[str, Rectangle]], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""A graph: inputs by name to `unit` (…, dim) and `norms` (…), whose leading axes are the vectors' places."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One run of the graph. The vector of `texts[i]` comes out at the flattened place `places[i]`."""

    inputs: Mapping[str, Rectangle]
    texts: Sequence[int]
    places: Sequence[int]

    @property
    def computed_tokens(self) -> int:
        """Tokens of the inputs, padding included."""
        return next(iter(self.inputs.values())).size


class Layout(Protocol):
    """Makes passes of texts. One instance's own; the passes are valid until its next call."""

    packs: bool
    """Whether short texts share rows, so that a batch of unlike lengths wastes nothing."""

    def __call__(self, texts: Sequence[TokenIds]) -> Sequence[Pass]: ...


def forward(layout: Layout, infer: Infer, texts: Sequence[TokenIds], *, owned: bool) -> ModelOutput:
    """The vectors of the texts. `owned`: `infer` returns new arrays, not buffers of its own.

    Copies nothing where one pass runs all texts, which is the common case. Raises ValueError for a batch without texts.
    """
    passes = layout(texts)
    if not passes:
        raise ValueError("a batch without texts has no vectors")
    rows = [0] * len(texts)
    if len(passes) == 1:
        (only,) = passes
        unit, norms = _flat(infer(only.inputs))
        for text, place in zip(only.texts, only.places, strict=True):
            rows[text] = place
        return ModelOutput(unit, norms, rows, only.computed_tokens, owned)
    units, all_norms, first = [], [], 0
    for one in passes:  # copied, since the next pass may use the same buffers
        unit, norms = _flat(infer(one.inputs))
        units.append(unit[list(one.places)])
        all_norms.append(norms[list(one.places)])
        for row, text in enumerate(one.texts, start=first):
            rows[text] = row
        first += len(one.texts)
    computed_tokens = sum(one.computed_tokens for one in passes)
    return ModelOutput(np.concatenate(units), np.concatenate(all_norms), rows, computed_tokens, owned=True)


def _flat(output: tuple[NDArray[np.float32], NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The graph's outputs as (places, dim) and (places,), without a copy."""
    unit, norms = output
    return unit.reshape(-1, unit.shape[-1]), norms.reshape(-1)
