"""The models that the backends are tested on, each prepared once and kept in the suite's artifact cache."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.artifacts.store import Artifact
from engine.backends.base import Cell
from engine.models.resolve import ModelFiles, resolve_model
from tests.support.prepared import prepare_here
from tests.support.tiny_models import build_tiny_cls_model, build_tiny_mpnet, build_tiny_mpnet_or_xlmr

TINY = {"cls": build_tiny_cls_model, "xlmr": build_tiny_mpnet_or_xlmr, "mpnet": build_tiny_mpnet}
MODELS = ("bundled", *TINY)
BACKENDS = ("torch", "onnx", "openvino")

Prepared = Callable[[str, str | Cell], tuple[ModelFiles, Artifact]]


def fp32(backend: str) -> Cell:
    """The cell that every backend has."""
    return Cell(backend=backend, precision="fp32", recipe="plain", device="cpu")


@pytest.fixture(scope="session")
def model_files(tmp_path_factory: pytest.TempPathFactory, artifact_cache: Path) -> Callable[[str], ModelFiles]:
    """Files of a model of MODELS, by name."""
    torch.set_num_threads(1)  # the machine is shared, and these models are small
    known: dict[str, ModelFiles] = {}

    def files(name: str) -> ModelFiles:
        if name not in known:
            place = None if name == "bundled" else str(TINY[name](tmp_path_factory.mktemp(name)))
            known[name] = resolve_model(place)
        return known[name]

    return files


@pytest.fixture(scope="session")
def prepared(model_files: Callable[[str], ModelFiles]) -> Prepared:
    """A model's artifact for a cell, or for a backend's fp32."""

    def prepare(name: str, of: str | Cell) -> tuple[ModelFiles, Artifact]:
        files = model_files(name)
        return files, prepare_here(files, fp32(of) if isinstance(of, str) else of)

    return prepare


@pytest.fixture(scope="session")
def sentence_transformer(model_files: Callable[[str], ModelFiles]) -> Callable[[str], Any]:
    """sentence-transformers' own model, by name: what ours are judged against."""
    from sentence_transformers import SentenceTransformer

    known: dict[str, Any] = {}

    def model(name: str) -> Any:
        if name not in known:
            known[name] = SentenceTransformer(str(model_files(name).path), device="cpu")
        return known[name]

    return model
