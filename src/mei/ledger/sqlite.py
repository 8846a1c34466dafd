"""A manifest in one SQLite file: how it is checked, created and connected to."""

from __future__ import annotations

import fcntl
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from mei.ledger.schema import apply_migrations, missing_migrations
from mei.model import faults
from mei.model.errors import LedgerError

#: How long a writer waits for another one, and an opener for another opener.
BUSY_TIMEOUT_MS = 30_000
_POLL_S = 0.02


def prepare_sqlite(path: Path, new_ledger_id: Callable[[], str]) -> None:
    """Make `path` a manifest of this release; two processes may do so at once.

    Raises LedgerError when the file is damaged or cannot be written, LedgerSchemaError when it is somebody
    else's; in both cases without having changed a byte of it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _opening(path):
            _refuse_what_is_no_file(path)
            if _is_written(path):
                _check_before_touching(path)
            _create_or_migrate(path, new_ledger_id)
    except (sqlite3.Error, DBAPIError) as error:
        raise LedgerError(
            f"the manifest must be writable, {path} answered: {error.__cause__ or error}; "
            "fix its owner, free the disk, or name another LEDGER_DB"
        ) from error
    except OSError as error:
        raise LedgerError(
            f"the folder of the manifest must be writable, {path} failed with {error.strerror}; "
            "fix its owner or name another LEDGER_DB"
        ) from error


def sqlite_engines(path: Path) -> tuple[Engine, Engine]:
    """(engine to read with, engine to write with) on a prepared file."""
    read = _engine(path, pool_size=8)
    write = _engine(path, pool_size=1)

    @event.listens_for(read, "connect")
    def _refuse_writes(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA query_only=ON")

    # IMMEDIATE on the write engine only: on a shared engine, reads would queue for the write lock.
    _begin_with(read, "BEGIN")
    _begin_with(write, "BEGIN IMMEDIATE")
    return read, write


def _engine(path: Path, *, pool_size: int) -> Engine:
    engine = create_engine(
        "sqlite://",
        creator=lambda: _connect(path),
        poolclass=QueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT_MS / 1000,
    )
    return engine


def _connect(path: Path) -> sqlite3.Connection:
    # rw, not rwc: a manifest that vanishes must be an error, not a fresh empty file.
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_TIMEOUT_MS / 1000,
    )
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    return connection


def _begin_with(engine: Engine, statement: str) -> None:
    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(statement)


@contextmanager
def _opening(path: Path) -> Iterator[None]:
    """Hold the lock file beside `path`: creating a file and switching it to WAL is not safe for two at once."""
    lock_path = path.with_name(path.name + ".lock")
    deadline_s = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    with lock_path.open("ab") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    raise LedgerError(
                        f"another process must finish opening the manifest within "
                        f"{BUSY_TIMEOUT_MS // 1000} s, {lock_path} is still held; end that process"
                    ) from None
                time.sleep(_POLL_S)
        yield


def _is_written(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _refuse_what_is_no_file(path: Path) -> None:
    """Without opening it: whoever closes a file loses every lock his process has on it, and SQLite's are such locks."""
    if path.is_dir():
        raise LedgerError(f"LEDGER_DB must be a file, {path} is a folder; name a file in it")
    if not _is_written(path) and _is_written(path.with_name(path.name + "-wal")):
        raise damaged(path, "it is empty but has a write-ahead log")


def _check_before_touching(path: Path) -> None:
    """Everything that can be found out by reading, before the first write."""
    engine = create_engine(
        "sqlite://", creator=lambda: _connect_read_only(path), poolclass=NullPool
    )
    try:
        with engine.connect() as connection:
            verdict = connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
            if verdict != "ok":
                raise damaged(path, " ".join(str(verdict).split()))
            missing_migrations(connection, str(path))
    except DBAPIError as error:
        found = str(error.orig)
        if "not a database" in found:
            found = "it does not begin like an SQLite database"
        raise damaged(path, found) from error
    finally:
        engine.dispose()


def _connect_read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_MS / 1000
    )


def _create_or_migrate(path: Path, new_ledger_id: Callable[[], str]) -> None:
    path.touch()
    with closing(_connect(path)) as connection:
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise LedgerError(
            f"the manifest must be on a file system with shared memory for WAL, {path} stayed in "
            f"journal mode {mode!r}; put LEDGER_DB on a local disk"
        )
    read, write = sqlite_engines(path)
    try:
        with read.connect() as connection:
            if not missing_migrations(connection, str(path)):
                return
        with write.begin() as connection:
            missing = missing_migrations(connection, str(path))
            apply_migrations(connection, missing, new_ledger_id)
            faults.hit("ledger.migrate.before_commit")
        faults.hit("ledger.migrate.after_commit")
    finally:
        read.dispose()
        write.dispose()


def damaged(path: Path, found: str) -> LedgerError:
    """The error for a manifest file that cannot be read."""
    return LedgerError(
        f"the manifest must be a sound SQLite database, {path} is damaged ({found}) and was left as it "
        "is; restore it from a copy, or move it away to begin anew"
    )
