"""Optimised torch modules return the vectors of transformers, for families with a lean encoder and others."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoModel,
    BertConfig,
    CamembertConfig,
    DistilBertConfig,
    ModernBertConfig,
    MPNetConfig,
    RobertaConfig,
    XLMRobertaConfig,
)

from engine.backends import backend
from engine.backends.base import Cell
from engine.backends.torch.lean_encoder import padded_row_count
from engine.backends.torch.module import SentenceModule
from engine.backends.torch.onednn import can_multiply
from engine.backends.torch.optimised_module import describe_optimisation, optimise
from engine.backends.torch.runtime import TorchModel
from tests.unit.engine.conftest import Prepared

SHAPE: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "vocab_size": 60,
    "initializer_range": 0.4, "max_position_embeddings": 40, "pad_token_id": 1,
}  # fmt: skip
FAMILIES = {
    "bert": BertConfig(**SHAPE),
    "bert with another activation": BertConfig(**SHAPE, hidden_act="gelu_new"),
    "roberta": RobertaConfig(**SHAPE),
    "xlm-roberta": XLMRobertaConfig(**SHAPE),
    "camembert": CamembertConfig(**SHAPE),
    "mpnet": MPNetConfig(**SHAPE),
    "distilbert": DistilBertConfig(
        dim=32, n_layers=2, n_heads=4, hidden_dim=48, vocab_size=60, initializer_range=0.4, pad_token_id=1
    ),
}
OTHERS = {
    "bert with an activation that is not fused": BertConfig(**SHAPE, hidden_act="silu"),
    "modernbert": ModernBertConfig(
        **{name: SHAPE[name] for name in SHAPE if name != "initializer_range"},
        bos_token_id=2, eos_token_id=3, cls_token_id=2, sep_token_id=3,
    ),
}  # fmt: skip
LENGTHS = (3, 3, 5, 9, 9, 2, 9)
MIN_COSINE = {torch.float32: 0.999999, torch.bfloat16: 0.9995}

needs_onednn = pytest.mark.parametrize("dtype", [one for one in MIN_COSINE if can_multiply(one)], ids=str)


def built(config: Any, dtype: torch.dtype) -> SentenceModule:
    torch.manual_seed(7)
    models: Any = AutoModel  # it has no types
    return SentenceModule(models.from_config(config), "mean", []).eval().to(dtype)


def batch(lengths: tuple[int, ...] = LENGTHS) -> tuple[Tensor, Tensor]:
    """Texts of any ids, including the padding id, in no order of length."""
    ids = torch.randint(0, 60, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(1))
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, length:] = 1
        mask[row, :length] = 1
    return ids, mask


@needs_onednn
@pytest.mark.parametrize("family", FAMILIES)
def test_a_known_family_gives_the_vectors_of_transformers_without_padding(family: str, dtype: torch.dtype) -> None:
    module = built(FAMILIES[family], dtype)
    with torch.inference_mode():
        unit, norms = module(*batch())
        optimised = optimise(module, 1)
        optimised_unit, optimised_norms = optimised(*batch())
    assert describe_optimisation(optimised) == "through oneDNN, no padding"
    assert (unit * optimised_unit).sum(dim=1).min() >= MIN_COSINE[dtype]
    torch.testing.assert_close(norms, optimised_norms, rtol=2e-2 if dtype == torch.bfloat16 else 1e-5, atol=0)


@needs_onednn
@pytest.mark.parametrize("family", OTHERS)
def test_another_family_keeps_its_forward_pass_with_linear_layers_of_onednn(family: str, dtype: torch.dtype) -> None:
    module = built(OTHERS[family], dtype)
    with torch.inference_mode():
        unit, _ = module(*batch())
        optimised = optimise(module, 1)
        optimised_unit, _ = optimised(*batch())
    assert describe_optimisation(optimised) == "through oneDNN, the rest as transformers built it"
    assert (unit * optimised_unit).sum(dim=1).min() >= MIN_COSINE[dtype]


@needs_onednn
def test_a_text_has_the_same_vector_alone_and_in_a_batch(dtype: torch.dtype) -> None:
    optimised = optimise(built(FAMILIES["mpnet"], dtype), 1)
    ids, mask = batch()
    with torch.inference_mode():
        together, _ = optimised(ids, mask)
        for row, length in enumerate(LENGTHS):
            alone, _ = optimised(ids[row : row + 1, :length], mask[row : row + 1, :length])
            assert float((alone * together[row]).sum()) >= MIN_COSINE[dtype]


class ReadsWeights(nn.Module):
    """A model that multiplies with the weights of its layer itself, which fails with reordered weights."""

    def __init__(self) -> None:
        super().__init__()
        self.config = BertConfig(**SHAPE)
        self.words = nn.Embedding(60, 8)
        self.linear = nn.Linear(8, 8)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        return type("Output", (), {"last_hidden_state": self.words(input_ids) @ self.linear.weight.t()})


def test_a_model_that_reordered_weights_would_break_is_not_changed() -> None:
    module = SentenceModule(ReadsWeights(), "mean", [])
    with torch.inference_mode():
        unit, _ = module(*batch())
        optimised = optimise(module, 1)
        assert describe_optimisation(optimised) == ""
        torch.testing.assert_close(optimised(*batch())[0], unit)


def test_kernels_are_created_for_few_numbers_of_rows_with_few_padding_rows() -> None:
    rounded = [padded_row_count(count) for count in range(1, 4097)]
    assert all(count <= rows <= max(count + 1, count * 17 / 16) for count, rows in enumerate(rounded, start=1))
    assert len(set(rounded)) <= 130, "kernels for each number of rows take megabytes"


def test_the_eager_recipe_runs_the_module_as_transformers_built_it(prepared: Prepared) -> None:
    cell = Cell(backend="torch", precision="fp32", recipe="eager", device="cpu")
    files, artifact = prepared("cls", cell)
    loaded = backend("torch").load(artifact.path, files.path, cell, threads=1)
    assert isinstance(loaded, TorchModel)
    assert type(loaded.module.transformer).__name__ == "BertModel"
    assert loaded.evidence.endswith("weight tensors are float32")
    loaded.close()
