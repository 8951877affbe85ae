"""Artifacts prepared in the test's process, because a child process for each would import torch every time."""

import pytest

from engine.artifacts.calibration import Calibration
from engine.artifacts.prepare_child import build
from engine.artifacts.store import Artifact, ArtifactStore, artifact_details, artifact_key
from engine.backends.base import Cell
from engine.models.resolve import ModelFiles


def prepare_here(files: ModelFiles, cell: Cell, calibration: Calibration | None = None) -> Artifact:
    """Returns the artifact of a cell, from the suite's cache or prepared now."""
    store, key = ArtifactStore.default(), artifact_key(files, cell, calibration)
    return store.find(key, pytest.fail) or store.publish(
        key,
        lambda folder: build(files, cell, folder, lambda _: None, store, calibration),
        artifact_details(files, cell, calibration),
        pytest.fail,
    )
