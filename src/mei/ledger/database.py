"""Opening the manifest, reading it, and changing it in units of work."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, Engine, make_url, select
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from mei.ledger.postgres import postgres_engines, prepare_postgres
from mei.ledger.sqlite import BUSY_TIMEOUT_MS, damaged, prepare_sqlite, sqlite_engines
from mei.ledger.tables import identity
from mei.model import faults
from mei.model.errors import LedgerError


def _random_id() -> str:
    return uuid.uuid4().hex


class UnitOfWork:
    """One transaction that writes. `connection` is good until `commit`; without `commit` nothing happened."""

    __slots__ = ("connection",)

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def commit(self, name: str) -> None:
        """Make it durable. `name` is that of the fault points `ledger.<name>.before_commit/after_commit`."""
        faults.hit(f"ledger.{name}.before_commit")
        self.connection.commit()
        # Closed, so that a statement after the commit is an error and not a write that is lost.
        self.connection.close()
        faults.hit(f"ledger.{name}.after_commit")


class Ledger:
    """A manifest that is open. Thread-safe; not to be used across a fork."""

    def __init__(self, where: str, read: Engine, write: Engine) -> None:
        self.where = where
        self._read = read
        self._write = write
        self._one_writer = threading.Lock()
        self._writing_thread: int | None = None
        #: Drawn when the manifest was created: two services with one id share one account.
        self.ledger_id = self._read_id()

    @classmethod
    def open(cls, location: str | Path, *, new_ledger_id: Callable[[], str] = _random_id) -> Ledger:
        """Open, and create or migrate if needed, the manifest at an SQLite path or a database URL.

        `new_ledger_id` names a manifest that has no id yet.

        Raises LedgerError when it is damaged or out of reach, LedgerSchemaError when it is another
        program's or a newer release's; nothing there is changed then.
        """
        path = _sqlite_path(location)
        if path is not None:
            prepare_sqlite(path, new_ledger_id)
            return cls(str(path), *sqlite_engines(path))
        url = make_url(str(location))
        prepare_postgres(url, new_ledger_id)
        return cls(url.render_as_string(hide_password=True), *postgres_engines(url))

    @contextmanager
    def reader(self) -> Iterator[Connection]:
        """A connection that sees one state of the ledger throughout and cannot write. Hold it briefly."""
        with self._explained(), self._read.connect() as connection:
            yield connection

    @contextmanager
    def unit_of_work(self) -> Iterator[UnitOfWork]:
        """The one transaction that may write now; leaving without `commit` rolls back.

        Never await inside: no other writer, in any process, gets in meanwhile.
        """
        with self._explained(), self._as_only_writer(), self._write.connect() as connection:
            connection.begin()
            yield UnitOfWork(connection)

    def close(self) -> None:
        """Close every connection that is not in use."""
        self._read.dispose()
        self._write.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _read_id(self) -> str:
        with self.reader() as connection:
            ledger_id: str = connection.execute(select(identity.c.ledger_id)).scalar_one()
        return ledger_id

    @contextmanager
    def _as_only_writer(self) -> Iterator[None]:
        if self._writing_thread == threading.get_ident():
            raise LedgerError(
                "a unit of work must end before the next one begins, this thread has one open on "
                f"{self.where}; do not nest them and do not await inside"
            )
        if not self._one_writer.acquire(timeout=BUSY_TIMEOUT_MS / 1000):
            raise LedgerError(self._busy("another thread"))
        self._writing_thread = threading.get_ident()
        try:
            yield
        finally:
            self._writing_thread = None
            self._one_writer.release()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Errors of the database as one line of ours."""
        try:
            yield
        except PoolTimeoutError as error:
            raise LedgerError(self._busy("too many readers")) from error
        except DBAPIError as error:
            raise self._explanation(" ".join(str(error.orig).split())) from error

    def _explanation(self, found: str) -> LedgerError:
        if "database is locked" in found or "lock timeout" in found:
            return LedgerError(self._busy("another process"))
        if "malformed" in found or "not a database" in found:
            return damaged(Path(self.where), found)
        return LedgerError(
            f"the manifest must be writable and consistent, {self.where} answered: {found}; "
            "nothing of this transaction was kept"
        )

    def _busy(self, who: str) -> str:
        return (
            f"the manifest must come free within {BUSY_TIMEOUT_MS // 1000} s, {who} still held "
            f"{self.where}; try again, and look for a stopped process if it stays so"
        )


def _sqlite_path(location: str | Path) -> Path | None:
    """The file `location` names, or None if it is the URL of a PostgreSQL database."""
    if isinstance(location, Path):
        return location
    if "://" not in location:
        return _file(location, location)
    try:
        url = make_url(location)
    except ArgumentError as error:
        raise LedgerError(
            f"LEDGER_DB must be a path or a database URL, was {location.split('@')[-1]!r}"
        ) from error
    if url.drivername in ("sqlite", "sqlite+pysqlite") and not url.query:
        return _file(url.database or "", location)
    if url.drivername != "postgresql+psycopg":
        raise LedgerError(
            "LEDGER_DB must be an SQLite path, sqlite:///path without options, or postgresql+psycopg://..., "
            f"was {url.render_as_string(hide_password=True)}; change it"
        )
    return None


def _file(name: str, location: str) -> Path:
    if name in ("", ":memory:"):
        raise LedgerError(
            f"LEDGER_DB must name a file, since every process opens it, was {location!r}"
        )
    return Path(name)
