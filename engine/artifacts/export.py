"""Exports the torch module to an ONNX graph with dynamic axes, and verifies the graph against the module.

The graph packs several texts into a row if the model supports it.
"""

import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from engine.backends.layout.base import IntArray
from engine.backends.layout.packing import Packing
from engine.backends.layout.padding import Padding
from engine.backends.torch.module import SentenceModule
from engine.backends.torch.packed_module import PackedModule, packed_module
from engine.errors import ModelError
from engine.models.card import ModelCard
from engine.scheduling.contract import Executor

VERIFIED_BATCHES = (1, 2, 7, 32)
VERIFIED_LENGTHS = (2, 9, 128)
"""In tokens. The model's maximum length is verified too."""
MIN_COSINE = 0.99999
_MAX_SINGLE_FILE_BYTES = 1_500_000_000
"""Larger weights are stored in a separate file, because a protobuf message is limited to 2 GiB."""


def export(module: SentenceModule, card: ModelCard, path: Path) -> None:
    """Exports `module` as an ONNX graph to `path`. Raises ModelError when the exporter does not support it."""
    transformer = module.transformer
    # Eager attention gives a third fewer nodes at the same speed: the fused kind is exported with its NaN guards.
    attention = transformer.config._attn_implementation  # noqa: SLF001 - transformers has no public way to read it
    transformer.set_attn_implementation("eager")
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            graph, inputs = _exportable(module, card)
            program = torch.onnx.export(
                graph,
                tuple(torch.from_numpy(array) for array in inputs.values()),
                dynamo=True,
                input_names=list(inputs),
                output_names=["unit", "norms"],
                dynamic_shapes=dict.fromkeys(inputs, _axes(graph, card)),
                verbose=False,
            )
            size_bytes = sum(tensor.nbytes for tensor in module.state_dict().values())
            if program is None:
                raise RuntimeError("the exporter returned nothing")
            program.save(path, external_data=size_bytes > _MAX_SINGLE_FILE_BYTES)
    except (torch.onnx.errors.OnnxExporterError, RuntimeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{card.id} cannot be exported to ONNX ({reason}): serve it with --backend torch") from error
    finally:
        transformer.set_attn_implementation(attention)  # verification compares with the kind that torch serves with


def _exportable(module: SentenceModule, card: ModelCard) -> tuple[nn.Module, Mapping[str, IntArray]]:
    """Returns the packed module if the model supports it, else `module`, and the inputs to trace it with, by name.

    The inputs have three rows of unequal length: the exporter treats sizes of 0 and 1 and a mask without zeros as
    constants.
    """
    longest = min(11, card.max_tokens)
    ids, mask = ragged_batch(24, longest, card.pad_token_id, vocabulary=_vocabulary(module))
    texts = [row[:count].tolist() for row, count in zip(ids, mask.sum(axis=1), strict=True)]
    packable = packed_module(module, card, texts)
    (only,) = (Packing if packable else Padding)(card.pad_token_id)(texts[:3] if packable is None else texts)
    return packable or module, only.inputs


def _axes(graph: nn.Module, card: ModelCard) -> dict[int, torch.export.Dim]:
    widest = 1 << 20 if isinstance(graph, PackedModule) else card.max_tokens
    return {0: torch.export.Dim("rows", min=1, max=1 << 20), 1: torch.export.Dim("width", min=1, max=widest)}


def verify_batch(module: SentenceModule, executor: Executor, card: ModelCard, batch: int) -> float:
    """Returns the lowest cosine between the vectors of the graph and of torch, over ragged batches of `batch` texts.

    Runs one batch for each of VERIFIED_LENGTHS and the model's maximum length.

    Raises ModelError below MIN_COSINE, or when the norms differ.
    """
    lowest = 1.0
    for length in sorted({min(length, card.max_tokens) for length in (*VERIFIED_LENGTHS, card.max_tokens)}):
        ids, mask = ragged_batch(batch, length, card.pad_token_id, vocabulary=_vocabulary(module))
        with torch.inference_mode():
            unit, norms = module(torch.from_numpy(ids), torch.from_numpy(mask))
        vectors = executor([row[:count].tolist() for row, count in zip(ids, mask.sum(axis=1), strict=True)]).in_order()
        cosine = float(np.einsum("nd,nd->n", vectors.unit, unit.numpy()).min())
        if not (cosine >= MIN_COSINE and np.allclose(vectors.norms, norms.numpy(), rtol=1e-3)):
            raise ModelError(
                f"the ONNX export of {card.id} differs from torch at batch {batch}, length {length} "
                f"(cosine {cosine:.6f}): serve it with --backend torch"
            )
        lowest = min(lowest, cosine)
    return lowest


def ragged_batch(
    rows: int, longest: int, pad_token_id: int, vocabulary: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns random ids and their mask, both (rows, longest) int64.

    The first row has `longest` tokens; the others have at most as many and are padded on the right.
    """
    random = np.random.default_rng(rows * 100_003 + longest)
    lengths = random.integers(min(2, longest), longest + 1, rows)
    lengths[0] = longest
    mask = (np.arange(longest) < lengths[:, None]).astype(np.int64)
    ids = random.integers(0, vocabulary - 1, (rows, longest))
    ids += ids >= pad_token_id  # any id except the padding id, which is valid only at the end of a row
    return np.where(mask == 1, ids, pad_token_id), mask


def _vocabulary(module: SentenceModule) -> int:
    return int(module.transformer.config.vocab_size)
