"""Prepared artifacts on disk: found by content, verified when found, published whole or not at all."""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from engine.artifacts.calibration import Calibration, default_calibration
from engine.artifacts.reference_vectors import ReferenceVectors
from engine.backends.base import Cell
from engine.backends.recipes import prepared_as, recipe_of
from engine.errors import ModelError
from engine.host.cache import FileHashes, cache_root
from engine.host.isa import int8_products_saturate
from engine.models.resolve import ModelFiles

FORMAT = 4
"""Raised when what an artifact holds changes, so that older ones are made again."""
_MANIFEST = "manifest.json"
_BUILDING, _DOOMED = ".building-", ".doomed-"
_KEY = re.compile(r"[0-9a-f]{64}")
_MADE_WITH = {
    "torch": ("torch", "transformers", "tokenizers"),
    "onnx": ("torch", "transformers", "tokenizers", "onnx", "onnxscript", "onnxruntime"),
    "openvino": ("torch", "transformers", "tokenizers", "onnx", "onnxscript", "openvino"),
}


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified folder, and the vectors that a deployment made from it must reproduce."""

    path: Path
    reference: ReferenceVectors


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """A row of the store's listing."""

    key: str
    about: dict[str, Any]
    """model, cell and versions, as its manifest says."""
    size_bytes: int
    created_unix_s: float


def artifact_key(files: ModelFiles, cell: Cell, calibration: Calibration | None = None) -> str:
    """sha256 over everything that decides an artifact's content.

    The model, what is prepared, the calibrating texts, the instruction set and the versions of what makes it, the last
    three only where they matter. Not the model's name: the same files under another name give the same artifact.
    Raises ModelError when the cell has no such recipe.
    """
    deciding = [FORMAT, files.fingerprint, _content(cell, calibration)]
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def about(files: ModelFiles, cell: Cell, calibration: Calibration | None = None) -> dict[str, Any]:
    """What a manifest says of its artifact: the model, and all that decided its content."""
    return {"model": files.id, **_content(cell, calibration)}


def _content(cell: Cell, calibration: Calibration | None) -> dict[str, Any]:
    recipe, prepared = recipe_of(cell), prepared_as(cell)
    content: dict[str, Any] = {"cell": _cell_content(prepared), "versions": _versions(prepared)}
    if recipe.calibrated:
        content["calibration"] = (calibration or default_calibration()).hash
    if prepared.precision == "int8" and prepared.backend != "torch":
        content["int8_products_saturate"] = int8_products_saturate()
    return content


def _cell_content(prepared: Cell) -> dict[str, str]:
    """The cell as it is part of a key and of a manifest: these fields, whatever else a cell may come to have."""
    return {
        "backend": prepared.backend, "precision": prepared.precision, "recipe": prepared.recipe,
        "device": prepared.device,
    }  # fmt: skip


class ArtifactStore:
    """The artifacts of this machine's user. Any number of processes may use one store at once."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @classmethod
    def default(cls) -> "ArtifactStore":
        """The store in this user's cache folder."""
        return cls(cache_root() / "artifacts")

    def path(self, key: str) -> Path:
        """Where the artifact lies once it is published."""
        return self.root / key

    def find(self, key: str, warn: Callable[[str], None]) -> Artifact | None:
        """The artifact, verified; None when there is none. A corrupt one is removed and `warn` is told why.

        Sizes are compared always; hashes when a file is new or was touched since it was last hashed.
        """
        folder = self.path(key)
        if not folder.exists():
            return None
        try:
            return self._open(folder)
        except (OSError, ValueError, KeyError, TypeError):
            with self._lock(key):
                return self._open_or_remove(folder, warn)  # again: another process may have mended it meanwhile

    def publish(
        self, key: str, build: Callable[[Path], None], details: dict[str, Any], warn: Callable[[str], None]
    ) -> Artifact:
        """Calls `build` with an empty folder and gives it its name when it is whole; waits for another builder first.

        Whatever `build` raises comes through, and leaves nothing behind.
        """
        with self._lock(key):
            self._clear_leftovers(key)  # nobody else can be building this key: we hold its lock
            found = self._open_or_remove(self.path(key), warn)
            if found is not None:
                return found
            building = self.root / f"{_BUILDING}{key}"
            building.mkdir(parents=True)
            try:
                build(building)
                _write_manifest(building, details)
                building.rename(self.path(key))
            finally:
                shutil.rmtree(building, ignore_errors=True)
        found = self.find(key, warn)
        if found is None:
            raise ModelError(f"the artifact in {self.path(key)} was damaged while it was written: check the disk")
        return found

    def list(self) -> list[StoredArtifact]:
        """Everything published, newest first; what cannot be read is listed with an empty `about`."""
        rows = []
        for folder in self.root.glob("*") if self.root.is_dir() else ():
            if not _KEY.fullmatch(folder.name):
                continue
            size_bytes = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
            try:
                details = json.loads((folder / _MANIFEST).read_text("utf-8"))["about"]
            except (OSError, ValueError, KeyError, TypeError):
                details = {}
            rows.append(StoredArtifact(folder.name, details, size_bytes, folder.stat().st_mtime))
        return sorted(rows, key=lambda row: row.created_unix_s, reverse=True)

    def prune(self, keep: Collection[str] = ()) -> int:
        """Removes all artifacts but those whose key is in `keep`; returns the bytes freed."""
        freed_bytes = 0
        for row in self.list():
            if row.key not in keep:
                with self._lock(row.key):
                    self._remove(self.path(row.key))
                freed_bytes += row.size_bytes
        self.sweep()
        return freed_bytes

    def sweep(self) -> None:
        """Removes what builders that died left behind; what a living one is building is left alone."""
        for folder in self.root.glob(".*-*") if self.root.is_dir() else ():
            found = _KEY.search(folder.name)
            if found is None:
                continue
            try:
                with self._lock(found.group(), timeout_s=0):
                    self._clear_leftovers(found.group())
            except Timeout:  # its builder is alive
                continue

    def _open_or_remove(self, folder: Path, warn: Callable[[str], None]) -> Artifact | None:
        """To be called with the key's lock held."""
        if not folder.exists():
            return None
        try:
            return self._open(folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._remove(folder)
            warn(f"the prepared artifact {folder.name[:12]} was corrupt and is made again ({error})")
            return None

    def _open(self, folder: Path) -> Artifact:
        """Raises OSError, ValueError, KeyError or TypeError when a byte differs from what was written."""
        manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
        hashes = FileHashes(self.root)
        for name, expected in manifest["files"].items():
            path = folder / name
            if path.stat().st_size != expected["size_bytes"]:
                raise ValueError(f"{name} has {path.stat().st_size} bytes instead of {expected['size_bytes']}")
            if hashes.sha256(path) != expected["sha256"]:
                raise ValueError(f"{name} has another content than was written")
        return Artifact(folder, ReferenceVectors.load(folder))

    def _lock(self, key: str, timeout_s: float = -1) -> AbstractContextManager[object]:
        locks = self.root / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        return FileLock(locks / f"{key}.lock", timeout=timeout_s)

    def _remove(self, folder: Path) -> None:
        """Out of the way in one step, so that nobody finds half an artifact."""
        doomed = self.root / f"{_DOOMED}{folder.name}"
        shutil.rmtree(doomed, ignore_errors=True)
        if folder.exists():
            folder.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)

    def _clear_leftovers(self, key: str) -> None:
        for prefix in (_BUILDING, _DOOMED):
            shutil.rmtree(self.root / f"{prefix}{key}", ignore_errors=True)


def _write_manifest(folder: Path, details: dict[str, Any]) -> None:
    files = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        files[path.name] = {"size_bytes": path.stat().st_size, "sha256": digest}
    manifest = {"format": FORMAT, "about": details, "created_unix_s": time.time(), "files": files}
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=1), "utf-8")


def _versions(prepared: Cell) -> dict[str, str]:
    """Installed versions of what makes it, empty where a package is missing."""
    packages = [*_MADE_WITH.get(prepared.backend, ()), *recipe_of(prepared).needs]
    versions = dict.fromkeys(packages, "")
    for package in versions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
