"""A manifest in a PostgreSQL database: same tables, same one-writer rule, by an advisory lock."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

from mei.ledger.schema import apply_migrations, missing_migrations
from mei.ledger.sqlite import BUSY_TIMEOUT_MS
from mei.model import faults
from mei.model.errors import LedgerError

#: The advisory lock every writer takes first: what BEGIN IMMEDIATE is to SQLite.
_WRITER_LOCK = 0x6D65695F6C656467

_READ_OPTIONS = (
    "-c default_transaction_read_only=on -c default_transaction_isolation=repeatable\\ read"
)
_WRITE_OPTIONS = f"-c lock_timeout={BUSY_TIMEOUT_MS}"


def postgres_engines(url: URL) -> tuple[Engine, Engine]:
    """(engine to read with, engine to write with). Reads see one snapshot a connection taken out."""
    read = _engine(url, _READ_OPTIONS, pool_size=8)
    write = _engine(url, _WRITE_OPTIONS, pool_size=1)

    @event.listens_for(write, "begin")
    def _become_the_writer(connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")

    return read, write


def prepare_postgres(url: URL, new_ledger_id: Callable[[], str]) -> None:
    """Make the database at `url` a manifest of this release; two processes may do so at once.

    Raises LedgerSchemaError, without having changed it, when it is somebody else's or newer.
    """
    where = url.render_as_string(hide_password=True)
    try:
        read, write = postgres_engines(url)
    except ModuleNotFoundError as error:
        raise LedgerError(
            f"a manifest in PostgreSQL must have its driver, {where} found no module {error.name!r}; "
            'pip install "mei-backtester[postgres]"'
        ) from error
    try:
        with write.begin() as connection:
            apply_migrations(connection, missing_migrations(connection, where), new_ledger_id)
            faults.hit("ledger.migrate.before_commit")
        faults.hit("ledger.migrate.after_commit")
    except DBAPIError as error:
        raise LedgerError(
            f"the manifest's server must answer, {where} failed with {_first_line(error)}; "
            "start it or correct LEDGER_DB"
        ) from error
    finally:
        read.dispose()
        write.dispose()


def _engine(url: URL, options: str, *, pool_size: int) -> Engine:
    # The URL may carry options of its own, such as a search_path; connect_args would replace them.
    given = url.query.get("options", ())
    joined = " ".join([given] if isinstance(given, str) else given)
    return create_engine(
        url.update_query_dict({"options": f"{joined} {options}".strip()}),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=BUSY_TIMEOUT_MS / 1000,
        pool_pre_ping=True,
    )


def _first_line(error: DBAPIError) -> str:
    return " ".join(str(error.orig).split())
