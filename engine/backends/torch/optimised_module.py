"""Torch modules made faster on x86 processors: linear layers in oneDNN's own layout, BERT's kin without padding."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from engine.backends.torch.lean_encoder import LeanEncoder, lean_encoder
from engine.backends.torch.module import SentenceModule
from engine.backends.torch.onednn import OneDnnLinear, can_multiply

_LEAST_COSINE = 0.99
"""Between a module and its faster form. A form that is wrong for this model is far off; how precise one is, is judged
later against the reference vectors."""


def fastest(module: SentenceModule, pad_token_id: int) -> SentenceModule:
    """`module` with its linear layers through oneDNN, and its encoder replaced where one is written for its family.

    What cannot be helped here, or says something else once it is, comes back as it was. The weights must be float32 or
    bfloat16 and lie on the CPU; the module given is used up.
    """
    if not can_multiply(next(module.parameters()).dtype):
        return module
    expected = _probe(module, pad_token_id)
    whole = module.transformer
    encoder = lean_encoder(whole)
    if encoder is not None:
        module.transformer = encoder
        if _says(module, expected, pad_token_id):
            return module
        module.transformer = whole
    linear = {name: layer for name, layer in whole.named_modules() if type(layer) is nn.Linear}
    _put(whole, {name: OneDnnLinear([layer]) for name, layer in linear.items()})
    if not _says(module, expected, pad_token_id):
        _put(whole, linear)
    return module


def is_unpadded(module: nn.Module) -> bool:
    """Whether padding of a batch is left out of the arithmetic."""
    return any(isinstance(part, LeanEncoder) for part in module.modules())


def form_of(module: nn.Module) -> str:
    """The form that `fastest` gave it, in words read from the module; empty when it stayed as it was."""
    if is_unpadded(module):
        return "through oneDNN, no padding"
    if any(isinstance(part, OneDnnLinear) for part in module.modules()):
        return "through oneDNN, the rest as transformers built it"
    return ""


def _probe(module: SentenceModule, pad_token_id: int) -> Tensor:
    """Unit vectors of two texts of unequal length, (2, dim) float32."""
    lengths = (7, 4)
    ids = torch.full((2, max(lengths)), pad_token_id)
    mask = torch.zeros_like(ids)
    known = module.transformer.config.vocab_size
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.arange(2 + 3 * row, 2 + 3 * row + length) % known
        mask[row, :length] = 1
    with torch.inference_mode():
        unit: Tensor = module(ids, mask)[0]
    return unit


def _says(module: SentenceModule, expected: Tensor, pad_token_id: int) -> bool:
    try:
        found = _probe(module, pad_token_id)
    except (RuntimeError, AttributeError, TypeError):  # a model that looks into its linear layers, or wants more inputs
        return False
    return bool(((found * expected).sum(dim=-1) >= _LEAST_COSINE).all())


def _put(module: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    for name, layer in layers.items():
        parent, _, child = name.rpartition(".")
        setattr(module.get_submodule(parent), child, layer)
