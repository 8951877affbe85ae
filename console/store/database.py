"""The experiment store: one SQLite file with every run, from which any report can be rebuilt.

Write-ahead logging lets others read while a run is written, and a process killed in the middle of a write loses that
write alone. What is in it: `store_schema.py`; what writes: `store_write.py`; what reads: `store_read.py`.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from console.store.schema import LATEST, migrate, version

STORE_VARIABLE = "EMBEDCONSOLE_STORE"
BUSY_TIMEOUT_S = 5.0
_RETRY_S = 0.02
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
_REFUSED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}


class StoreError(Exception):
    """The store cannot be used; the message says why and what to do."""


def store_path(asked: str = "") -> Path:
    """Where the store lies: what was asked for, else EMBEDCONSOLE_STORE, else the user's data folder."""
    if named := asked or os.environ.get(STORE_VARIABLE, ""):
        return Path(named).expanduser()
    from platformdirs import user_data_path

    return user_data_path("embedconsole") / "runs.sqlite"


def is_chosen(asked: str = "") -> bool:
    """Whether somebody named the store, so that doing without it would not be what they want."""
    return bool(asked or os.environ.get(STORE_VARIABLE))


class Store:
    """An open store. It belongs to the thread that opened it; every method raises StoreError."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path, busy_timeout_s: float = BUSY_TIMEOUT_S) -> "Store":
        """Opens the file, made or migrated as needed. Raises StoreError."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the store's folder {path.parent} cannot be made ({error.strerror}): name another file with --store"
                f" or {STORE_VARIABLE}"
            ) from error
        with _told(path):
            connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None)
        try:
            with _told(path):
                _prepare(connection, path, busy_timeout_s)
        except BaseException:
            connection.close()
            raise
        return cls(connection, path)

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def wait_at_most(self, seconds: float) -> None:
        """From now on, for another program to let go of the store."""
        with _told(self.path):
            self._connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is kept, or none of it."""
        with _told(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.commit()
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.rollback()
                raise

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Rows come as sqlite3.Row."""
        with _told(self.path):
            yield self._connection


def _prepare(connection: sqlite3.Connection, path: Path, patience_s: float) -> None:
    found = version(connection)
    if found > LATEST:
        raise StoreError(
            f"the store {path} was written by a newer embedconsole (schema {found}, this one knows {LATEST}):"
            " update this one (pip install --upgrade embedconsole), or name another file with --store"
        )
    connection.row_factory = sqlite3.Row
    _write_ahead(connection, patience_s)
    connection.execute("PRAGMA synchronous = NORMAL")  # with WAL a kill loses nothing, a power cut the last seconds
    connection.execute("PRAGMA foreign_keys = ON")
    if found < LATEST:
        migrate(connection)


def _write_ahead(connection: sqlite3.Connection, patience_s: float) -> None:
    """SQLite does not wait for its turn here when two programs make the same new file: so this does."""
    give_up_s = time.monotonic() + patience_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _BUSY or time.monotonic() > give_up_s:
                raise
            time.sleep(_RETRY_S)
        else:
            return


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """SQLite's errors as sentences with a next step."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(_sentence(error, path)) from error


def _sentence(error: sqlite3.Error, path: Path) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # extended codes carry the primary one in their low byte
    if code in _BUSY:
        return f"the store {path} is locked by another program: close it (an editor, a backup?) and try again"
    if code in _DAMAGED:
        return (
            f"the store {path} is damaged, or no store at all ({error}): move it away and a new one is made, or name"
            " another file with --store"
        )
    if code == sqlite3.SQLITE_FULL:
        return f"no room for the store {path}: the disk is full; free some space, or name another file with --store"
    if code in _REFUSED:
        return f"the store {path} cannot be read and written ({error}): check its rights, or name another with --store"
    return f"the store {path} failed ({error}): name another file with --store, and report this"
