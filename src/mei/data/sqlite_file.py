"""SQLite files that are only read: opened without ever creating one, their faults told with the file's name."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from mei.model.errors import DataError

#: How much of a file may be mapped: rows that lie apart are then not read twice. SQLite caps it as it likes.
_MAPPED_BYTES = 1 << 36
#: How long a reader waits for a writer to be done, s.
_BUSY_S = 30.0
#: Every symbol of a table that is keyed by symbol first, by one search of the index each instead of a scan.
_SYMBOLS = """
WITH RECURSIVE names(name) AS (
  SELECT min(symbol) FROM {table}
  UNION ALL
  SELECT (SELECT min(symbol) FROM {table} WHERE symbol > name) FROM names WHERE name IS NOT NULL
) SELECT name FROM names WHERE name IS NOT NULL
"""


@contextmanager
def reading(
    path: str, table: str, columns: tuple[str, ...], what: str
) -> Iterator[sqlite3.Connection]:
    """A read-only connection to `path`, which must hold `table` with `columns`; `what` names the kind for people.

    DataError, naming the file, when it is missing, is no database, lacks the table or a column, or when a query in
    the block fails.
    """
    if not Path(path).is_file():
        found = (
            "it is a directory without *.db files"
            if Path(path).is_dir()
            else "there is no such file"
        )
        raise DataError(f"{path}: must be a {what}, {found}; check the path or import one")
    try:
        with closing(_opened(path)) as database:
            require_columns(database, path, table, columns, what)
            yield database
    except sqlite3.Error as error:
        raise DataError(f"{path}: must be a readable {what}, SQLite says: {error}") from None


def symbols_in(database: sqlite3.Connection, path: str, table: str) -> list[str]:
    """The distinct symbols of `table`, ascending by their UTF-8 bytes; DataError for one that is no text."""
    names = [row[0] for row in database.execute(_SYMBOLS.format(table=table))]
    nameless = database.execute(f"SELECT EXISTS (SELECT 1 FROM {table} WHERE symbol IS NULL)")
    if nameless.fetchone()[0]:
        names.append(None)
    for name in names:
        if not isinstance(name, str):
            raise DataError(
                f"{path}: {table}.symbol must be text, found {shown(name)}; correct the row"
            )
    return sorted(names, key=str.encode)


def shown(value: object) -> str:
    """A cell as a message shows it."""
    return "NULL" if value is None else repr(value)[:60]


def _opened(path: str) -> sqlite3.Connection:
    address = f"file:{quote(str(Path(path).absolute()))}?mode=ro"
    try:
        return _looked_into(_connected(address))
    except sqlite3.OperationalError as error:
        if _has_content(f"{path}-wal") or error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise
    if _has_content(f"{path}-journal"):
        # Its writer was killed: part of what it had not committed stands in the file until it is undone.
        _looked_into(sqlite3.connect(path, timeout=_BUSY_S)).close()
        return _looked_into(_connected(address))
    try:
        # Another reader may have undone it a moment ago.
        return _looked_into(_connected(address))
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise
    # A database in WAL mode in a folder that cannot be written to: no log, so nothing is missed.
    return _connected(f"{address}&immutable=1")


def _connected(address: str) -> sqlite3.Connection:
    return sqlite3.connect(address, uri=True, timeout=_BUSY_S)


def _looked_into(database: sqlite3.Connection) -> sqlite3.Connection:
    """The connection once it has read; closed when it cannot."""
    try:
        database.execute(f"PRAGMA mmap_size = {_MAPPED_BYTES}")
        database.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except BaseException:
        database.close()
        raise
    return database


def _has_content(path: str) -> bool:
    log = Path(path)
    return log.is_file() and log.stat().st_size > 0


def require_columns(
    database: sqlite3.Connection, path: str, table: str, columns: tuple[str, ...], what: str
) -> None:
    """Raise DataError, naming the file, unless `table` is there and has `columns` (lower case)."""
    found = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
    if not found:
        raise DataError(
            f"{path}: a {what} must have the table {table}, this file has not; name the right file"
            " (a directory stands for all *.db in it)"
        )
    missing = [name for name in columns if name not in {column.lower() for column in found}]
    if missing:
        raise DataError(
            f"{path}: the table {table} must have the columns {', '.join(columns)};"
            f" {', '.join(missing)} is missing, found {', '.join(found)}"
        )
