"""The user's cache folder, and the hashes of large files remembered in it."""

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path

import platformdirs


def cache_root() -> Path:
    """Where everything that can be made again is kept. EMBEDCONSOLE_CACHE overrides the platform's place for it."""
    override = os.environ.get("EMBEDCONSOLE_CACHE")
    return Path(override).expanduser().absolute() if override else Path(platformdirs.user_cache_dir("embedconsole"))


class FileHashes:
    """sha256 of files, computed once for a path, size and modification time: 90 MB cost 0.3 s at every start otherwise.

    Losing the remembered hashes is harmless, so concurrent writers simply replace each other's.
    """

    def __init__(self, root: Path) -> None:
        self._store = root / "hashes.json"
        self._known: dict[str, list[int | str]] = {}
        with contextlib.suppress(OSError, ValueError):  # nothing remembered yet, or unreadable: hash again
            loaded = json.loads(self._store.read_text("utf-8"))
            if isinstance(loaded, dict):
                self._known = loaded

    def sha256(self, path: Path) -> str:
        """Hex digest of the file's content. Raises OSError when it cannot be read."""
        stat = path.stat()
        name, seen = str(path.resolve()), [stat.st_size, stat.st_mtime_ns]
        known = self._known.get(name, [])
        if known[:2] == seen and len(known) == 3:
            return str(known[2])
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._known[name] = [*seen, digest]
        with contextlib.suppress(OSError):  # a read-only cache costs time, not correctness
            self._save()
        return digest

    def _save(self) -> None:
        self._store.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=self._store.parent, prefix=".hashes-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(self._known, file)
        Path(temporary).replace(self._store)
