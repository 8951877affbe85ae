"""Optimises torch modules for x86 processors: linear layers through oneDNN, and a lean encoder for BERT families."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from engine.backends.torch.lean_encoder import LeanEncoder, lean_encoder
from engine.backends.torch.module import SentenceModule
from engine.backends.torch.onednn import OneDnnLinear, can_multiply

_MIN_COSINE = 0.99
"""Minimum cosine between the vectors of a module and of its optimised form.

An optimisation that does not fit the model is far below it. The reference vectors verify the precision later.
"""


def optimise(module: SentenceModule, pad_token_id: int) -> SentenceModule:
    """Replaces the encoder by a lean encoder if its family has one, else its linear layers by OneDnnLinear.

    Returns the module unchanged if no optimisation applies or an optimisation changes its vectors. The weights must be
    on the CPU. Modifies the given module.
    """
    if not can_multiply(next(module.parameters()).dtype):
        return module
    expected = _probe(module, pad_token_id)
    transformer = module.transformer
    encoder = lean_encoder(transformer)
    if encoder is not None:
        module.transformer = encoder
        if _agrees(module, expected, pad_token_id):
            return module
        module.transformer = transformer
    linear = {name: layer for name, layer in transformer.named_modules() if type(layer) is nn.Linear}
    _replace_layers(transformer, {name: OneDnnLinear([layer]) for name, layer in linear.items()})
    if not _agrees(module, expected, pad_token_id):
        _replace_layers(transformer, linear)
    return module


def is_unpadded(module: nn.Module) -> bool:
    """Returns whether the module computes without padding."""
    return any(isinstance(part, LeanEncoder) for part in module.modules())


def describe_optimisation(module: nn.Module) -> str:
    """Returns a description of what `optimise` did, read from the module; empty if it is unchanged."""
    if is_unpadded(module):
        return "through oneDNN, no padding"
    if any(isinstance(part, OneDnnLinear) for part in module.modules()):
        return "through oneDNN, the rest as transformers built it"
    return ""


def _probe(module: SentenceModule, pad_token_id: int) -> Tensor:
    """Returns the unit vectors of two texts of unequal length, (2, dim) float32."""
    lengths = (7, 4)
    ids = torch.full((2, max(lengths)), pad_token_id)
    mask = torch.zeros_like(ids)
    vocabulary = module.transformer.config.vocab_size
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.arange(2 + 3 * row, 2 + 3 * row + length) % vocabulary
        mask[row, :length] = 1
    with torch.inference_mode():
        unit: Tensor = module(ids, mask)[0]
    return unit


def _agrees(module: SentenceModule, expected: Tensor, pad_token_id: int) -> bool:
    try:
        unit = _probe(module, pad_token_id)
    except (RuntimeError, AttributeError, TypeError):  # the model reads its weights itself, or needs more inputs
        return False
    return bool(((unit * expected).sum(dim=-1) >= _MIN_COSINE).all())


def _replace_layers(module: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    for name, layer in layers.items():
        parent, _, child = name.rpartition(".")
        setattr(module.get_submodule(parent), child, layer)
