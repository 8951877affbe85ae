"""The user's cache folder, and the hashes of large files remembered in it."""

import contextlib
import hashlib
import os
from pathlib import Path

import platformdirs

from engine.host.json_file import read_json, update_json


def cache_root() -> Path:
    """Where everything that can be made again is kept. EMBEDCONSOLE_CACHE overrides the platform's place for it."""
    override = os.environ.get("EMBEDCONSOLE_CACHE")
    return Path(override).expanduser().absolute() if override else Path(platformdirs.user_cache_dir("embedconsole"))


class FileHashes:
    """sha256 of files, computed once for a path, size and modification time: 90 MB cost 0.3 s at every start otherwise.

    Losing the remembered hashes is harmless: the files are hashed again.
    """

    def __init__(self, root: Path) -> None:
        self._store = root / "hashes.json"
        self._known = read_json(self._store)

    def sha256(self, path: Path) -> str:
        """Hex digest of the file's content. Raises OSError when it cannot be read."""
        stat = path.stat()
        name, seen = str(path.resolve()), [stat.st_size, stat.st_mtime_ns]
        known = self._known.get(name)
        if isinstance(known, list) and known[:2] == seen and len(known) == 3:
            return str(known[2])
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._known[name] = [*seen, digest]
        with contextlib.suppress(OSError):  # a read-only cache costs time, not correctness
            update_json(self._store, lambda rows: {**rows, name: [*seen, digest]})
        return digest
