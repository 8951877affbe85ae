"""The store of runs: one SQLite file, from which every report can be rebuilt.

Write-ahead logging lets other processes read while a run is written. A process that is killed during a write loses
only that write. The tables are in `schema.py`, writing is in `write.py`, reading in `read.py`.
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from console.store.schema import LATEST, migrate, schema_version

STORE_VARIABLE = "EMBEDCONSOLE_STORE"
BUSY_TIMEOUT_S = 5.0
"""How long SQLite waits for a lock that another process holds."""
_RETRY_S = 0.02
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DAMAGED = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
_REFUSED = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}


class StoreError(Exception):
    """The store cannot be used; the message names the reason and the next step."""


def store_path(named: str = "") -> Path:
    """Returns the path of the store: `named`, else EMBEDCONSOLE_STORE, else a file in the user's data folder."""
    if path := named or os.environ.get(STORE_VARIABLE, ""):
        return Path(path).expanduser()
    from platformdirs import user_data_path

    return user_data_path("embedconsole") / "runs.sqlite"


def is_chosen(named: str = "") -> bool:
    """Whether the user named a store; then it is an error if it cannot be used."""
    return bool(named or os.environ.get(STORE_VARIABLE))


class Store:
    """An open store. Only the thread that opened it may use it; every method raises StoreError."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path, busy_timeout_s: float = BUSY_TIMEOUT_S) -> "Store":
        """Opens the file, and creates or migrates it if needed. Raises StoreError."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"the store's folder {path.parent} cannot be created ({error.strerror}): choose another file with"
                f" --store or {STORE_VARIABLE}"
            ) from error
        with _store_errors(path):
            connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None)
        try:
            with _store_errors(path):
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

    def set_busy_timeout(self, seconds: float) -> None:
        """Sets how long later calls wait for a lock that another process holds."""
        with _store_errors(self.path):
            self._connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """Opens a transaction: commits at the end of the block, rolls back on an exception."""
        with _store_errors(self.path):
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
        """Gives the connection for reading. Rows are of type sqlite3.Row."""
        with _store_errors(self.path):
            yield self._connection


def _prepare(connection: sqlite3.Connection, path: Path, busy_timeout_s: float) -> None:
    version = schema_version(connection)
    if version > LATEST:
        raise StoreError(
            f"the store {path} was written by a newer embedconsole (schema {version}, this one supports {LATEST}):"
            " update this one (pip install --upgrade embedconsole), or choose another file with --store"
        )
    connection.row_factory = sqlite3.Row
    _enable_write_ahead_log(connection, busy_timeout_s)
    # with a write-ahead log, a killed process loses nothing, and a power failure the last seconds
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    if version < LATEST:
        migrate(connection)


def _enable_write_ahead_log(connection: sqlite3.Connection, busy_timeout_s: float) -> None:
    """Sets the journal mode. SQLite ignores its busy timeout here if two processes create the file, hence the loop."""
    deadline_s = time.monotonic() + busy_timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _BUSY or time.monotonic() > deadline_s:
                raise
            time.sleep(_RETRY_S)
        else:
            return


@contextmanager
def _store_errors(path: Path) -> Iterator[None]:
    """Converts SQLite's errors to StoreError with a next step."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(_message(error, path)) from error


def _message(error: sqlite3.Error, path: Path) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte of an extended code is the primary code
    if code in _BUSY:
        return f"the store {path} is locked by another program: close it (an editor, a backup?) and try again"
    if code in _DAMAGED:
        return (
            f"the store {path} is damaged or is not a store ({error}): move it away to create a new one, or choose"
            " another file with --store"
        )
    if code == sqlite3.SQLITE_FULL:
        return f"the disk of the store {path} is full: free some space, or choose another file with --store"
    if code in _REFUSED:
        return (
            f"the store {path} cannot be read and written ({error}): check its permissions, or choose another file"
            " with --store"
        )
    return f"the store {path} failed ({error}): choose another file with --store, and report this error"
