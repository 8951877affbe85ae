"""A content-addressed store of prepared artifacts on disk: verified when read, published atomically."""

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
"""Increment it when the content of artifacts changes, so that older ones are prepared again."""
_MANIFEST = "manifest.json"
_BUILDING, _DELETING = ".building-", ".doomed-"
_KEY = re.compile(r"[0-9a-f]{64}")
_TOOL_PACKAGES = {
    "torch": ("torch", "transformers", "tokenizers"),
    "onnx": ("torch", "transformers", "tokenizers", "onnx", "onnxscript", "onnxruntime"),
    "openvino": ("torch", "transformers", "tokenizers", "onnx", "onnxscript", "openvino"),
}


@dataclass(frozen=True, slots=True)
class Artifact:
    """A verified folder, and the reference vectors that a deployment of it must reproduce."""

    path: Path
    reference: ReferenceVectors

    def size_bytes(self) -> int:
        """Returns the size of its files, which is about that of the model in memory."""
        return _folder_bytes(self.path)


@dataclass(frozen=True, slots=True)
class StoredArtifact:
    """An entry of the store's list."""

    key: str
    about: dict[str, Any]
    """Model, cell and versions, from the manifest."""
    size_bytes: int
    created_unix_s: float


def artifact_key(files: ModelFiles, cell: Cell, calibration: Calibration | None = None) -> str:
    """Returns the sha256 of everything that determines the content of an artifact.

    These are the model's files, the prepared cell, the package versions and, where the recipe depends on them, the
    calibration texts and the instruction set. The name of the model is not part of the key: the same files under
    another name give the same artifact. Raises ModelError when the cell has no such recipe.
    """
    content = [FORMAT, files.fingerprint, _content(cell, calibration)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def artifact_details(files: ModelFiles, cell: Cell, calibration: Calibration | None = None) -> dict[str, Any]:
    """Returns the `about` section of a manifest: the model and everything that determines the content."""
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
    """The artifacts of a user. Several processes may use a store at the same time."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @classmethod
    def default(cls) -> "ArtifactStore":
        """Returns the store in the user's cache folder."""
        return cls(cache_root() / "artifacts")

    def path(self, key: str) -> Path:
        """Returns the folder of the published artifact."""
        return self.root / key

    def find(self, key: str, warn: Callable[[str], None]) -> Artifact | None:
        """Returns the verified artifact, or None. Removes a corrupt one and passes the reason to `warn`.

        Always compares sizes; computes hashes if a file is new or was modified since it was last hashed.
        """
        folder = self.path(key)
        if not folder.exists():
            return None
        try:
            return self._open(folder)
        except (OSError, ValueError, KeyError, TypeError):
            with self._lock(key):
                return self._open_or_remove(folder, warn)  # another process may have prepared it again

    def publish(
        self, key: str, build: Callable[[Path], None], details: dict[str, Any], warn: Callable[[str], None]
    ) -> Artifact:
        """Calls `build` with an empty folder, and renames the folder to its final name when it is complete.

        Waits for another process that builds the same key, and then returns its artifact. Propagates what `build`
        raises; no partial artifact remains.
        """
        with self._lock(key):
            self._clear_leftovers(key)  # the lock is held, so no other process is building this key
            artifact = self._open_or_remove(self.path(key), warn)
            if artifact is not None:
                return artifact
            building = self.root / f"{_BUILDING}{key}"
            building.mkdir(parents=True)
            try:
                build(building)
                _write_manifest(building, details)
                building.rename(self.path(key))
            finally:
                shutil.rmtree(building, ignore_errors=True)
        artifact = self.find(key, warn)
        if artifact is None:
            raise ModelError(f"the artifact in {self.path(key)} is damaged right after it was written: check the disk")
        return artifact

    def list(self) -> list[StoredArtifact]:
        """Returns all published artifacts, newest first. An unreadable one has an empty `about`."""
        rows = []
        for folder in self.root.glob("*") if self.root.is_dir() else ():
            if not _KEY.fullmatch(folder.name):
                continue
            size_bytes = _folder_bytes(folder)
            try:
                details = json.loads((folder / _MANIFEST).read_text("utf-8"))["about"]
            except (OSError, ValueError, KeyError, TypeError):
                details = {}
            rows.append(StoredArtifact(folder.name, details, size_bytes, folder.stat().st_mtime))
        return sorted(rows, key=lambda row: row.created_unix_s, reverse=True)

    def prune(self, keep: Collection[str] = ()) -> int:
        """Removes all artifacts except those in `keep`. Returns the bytes freed."""
        freed_bytes = 0
        for row in self.list():
            if row.key not in keep:
                with self._lock(row.key):
                    self._remove(self.path(row.key))
                freed_bytes += row.size_bytes
        self.sweep()
        return freed_bytes

    def sweep(self) -> None:
        """Removes partial artifacts of processes that died. Keeps those of running processes."""
        for folder in self.root.glob(".*-*") if self.root.is_dir() else ():
            key = _KEY.search(folder.name)
            if key is None:
                continue
            try:
                with self._lock(key.group(), timeout_s=0):
                    self._clear_leftovers(key.group())
            except Timeout:  # its process is running
                continue

    def _open_or_remove(self, folder: Path, warn: Callable[[str], None]) -> Artifact | None:
        """The caller holds the lock of the key."""
        if not folder.exists():
            return None
        try:
            return self._open(folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._remove(folder)
            warn(f"the prepared artifact {folder.name[:12]} was corrupt and will be prepared again ({error})")
            return None

    def _open(self, folder: Path) -> Artifact:
        """Raises OSError, ValueError, KeyError or TypeError when the content differs from the manifest."""
        manifest = json.loads((folder / _MANIFEST).read_text("utf-8"))
        hashes = FileHashes(self.root)
        for name, expected in manifest["files"].items():
            path = folder / name
            if path.stat().st_size != expected["size_bytes"]:
                raise ValueError(f"{name} has {path.stat().st_size} bytes instead of {expected['size_bytes']}")
            if hashes.sha256(path) != expected["sha256"]:
                raise ValueError(f"{name} does not have the hash in the manifest")
        return Artifact(folder, ReferenceVectors.load(folder))

    def _lock(self, key: str, timeout_s: float = -1) -> AbstractContextManager[object]:
        locks = self.root / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        return FileLock(locks / f"{key}.lock", timeout=timeout_s)

    def _remove(self, folder: Path) -> None:
        """Renames the folder before deleting it, so that no process finds a partial artifact."""
        deleting = self.root / f"{_DELETING}{folder.name}"
        shutil.rmtree(deleting, ignore_errors=True)
        if folder.exists():
            folder.rename(deleting)
            shutil.rmtree(deleting, ignore_errors=True)

    def _clear_leftovers(self, key: str) -> None:
        for prefix in (_BUILDING, _DELETING):
            shutil.rmtree(self.root / f"{prefix}{key}", ignore_errors=True)


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*") if file.is_file())


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
    """Returns the installed versions of the packages that prepare the artifact, '' for a missing package."""
    packages = [*_TOOL_PACKAGES.get(prepared.backend, ()), *recipe_of(prepared).needs]
    versions = dict.fromkeys(packages, "")
    for package in versions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return versions
