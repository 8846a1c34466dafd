"""Old bars of a candle database into databases of a month each; no bar is ever in neither.

A month is copied, committed and on disk before its bars leave the source, and they leave it only where the copy says
the same. Whatever ends the program between, the same command goes on. Times in epoch ms UTC; a bar belongs to the
month (UTC) it opens in.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from mei.data.candle_db import TABLE
from mei.data.sqlite_file import require_columns, shown
from mei.data.stamps import EARLIEST_MS, time_text
from mei.model import faults
from mei.model.errors import ConflictError, DataError, OutputError

_KEY = ("symbol", "interval", "t")
_TYPES = {
    "t_close": "INTEGER",
    "o": "REAL",
    "h": "REAL",
    "l": "REAL",
    "c": "REAL",
    "v": "REAL",
    "n": "INTEGER",
    "updated_at": "TEXT",
}
_CREATE = (
    f"CREATE TABLE IF NOT EXISTS part.{TABLE} (symbol TEXT NOT NULL, interval TEXT NOT NULL, t INTEGER NOT NULL, "
    f"{', '.join(f'{name} {kind}' for name, kind in _TYPES.items())}, PRIMARY KEY (symbol, interval, t)) WITHOUT ROWID"
)
#: When a row was written is no part of a bar.
_NO_VALUE = ("updated_at",)
_BUSY_S = 60.0
#: What file systems without links say.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class Month(NamedTuple):
    """Bars of a UTC month ("2026-03") that are to move: they open in [from_ms, to_ms)."""

    name: str
    from_ms: int
    to_ms: int
    n_bars: int
    n_symbols: int


class Copied(NamedTuple):
    """What was put into a month's database: bars that were not there, and bars that were there alike."""

    path: Path
    n_new: int
    n_same: int
    n_replaced: int


@contextmanager
def partitioning(source: Path, *, write: bool) -> Iterator[sqlite3.Connection]:
    """A connection to the candle database `source`, which must be there. write: bars may leave it.

    DataError, naming the file, when it is no candle database or when a query of the block fails.
    """
    address = f"file:{quote(str(source.absolute()))}?mode={'rw' if write else 'ro'}"
    try:
        with closing(
            sqlite3.connect(address, uri=True, timeout=_BUSY_S, isolation_level=None)
        ) as db:
            require_columns(db, str(source), TABLE, (*_KEY, "t_close"), "candle database")
            db.execute("PRAGMA synchronous = FULL")
            yield db
    except sqlite3.Error as error:
        raise DataError(f"{source}: must be a candle database to partition: {error}") from None


def months_before(
    db: sqlite3.Connection, source: Path, interval: str, cutoff_ms: int
) -> list[Month]:
    """The months of the bars labelled `interval` that open before `cutoff_ms`, ascending; the last one may be in part.

    DataError when there is no bar of the label at all, or an open that is no time.
    """
    kinds = f"SELECT t, symbol FROM {TABLE} WHERE interval = ?1 AND (typeof(t) <> 'integer' OR t < ?2) LIMIT 1"
    wrong = db.execute(kinds, (interval, EARLIEST_MS)).fetchone()
    if wrong is not None:
        raise DataError(
            f"{source}: t must be an integer (epoch ms, from 2009 on), found {shown(wrong[0])} of {shown(wrong[1])}; "
            "correct the row or import it again"
        )
    if (
        db.execute(f"SELECT 1 FROM {TABLE} WHERE interval = ? LIMIT 1", (interval,)).fetchone()
        is None
    ):
        labels = [shown(row[0]) for row in db.execute(f"SELECT DISTINCT interval FROM {TABLE}")]
        found = f"found {', '.join(sorted(labels))}" if labels else "the table is empty"
        raise DataError(f"{source}: there must be bars of interval {interval!r}, {found}")
    rows = db.execute(
        f"SELECT strftime('%Y-%m', t / 1000, 'unixepoch') AS month, count(*), count(DISTINCT symbol) FROM {TABLE} "
        "WHERE interval = ? AND t < ? GROUP BY month ORDER BY month",
        (interval, cutoff_ms),
    ).fetchall()
    return [_month(name, cutoff_ms, n_bars, n_symbols) for name, n_bars, n_symbols in rows]


def _month(name: str, cutoff_ms: int, n_bars: int, n_symbols: int) -> Month:
    year, number = map(int, name.split("-"))
    from_ms = _first_of(year, number)
    to_ms = _first_of(year + number // 12, number % 12 + 1)
    return Month(name, from_ms, min(to_ms, cutoff_ms), n_bars, n_symbols)


def _first_of(year: int, month: int) -> int:
    return int(datetime(year, month, 1, tzinfo=UTC).timestamp()) * 1000


def copy_month(
    db: sqlite3.Connection, path: Path, interval: str, month: Month, *, replace: bool
) -> Copied:
    """Put the bars of a month into the database `path`, made if absent, in one transaction that is on disk after it.

    replace: a bar that is there with other values is replaced; else it is a DataError, and nothing is written. A new
    file has its name only when it is whole: nobody reads a database without a table.
    """
    faults.hit("data.partition.copy.before")
    which, fresh = _of_month(interval, month), path.with_name(f".{path.name}.tmp")
    _clear(fresh)
    copied = None
    if not path.exists():
        made = _copy_into(db, fresh, path, which, replace=replace)
        faults.hit("data.partition.copy.before_rename")
        copied = made if _named(fresh, path) else None
    if copied is None:
        copied = _copy_into(db, path, path, which, replace=replace)
    _fsync(path.parent)
    faults.hit("data.partition.copy.after")
    return copied


def _copy_into(
    db: sqlite3.Connection, target: Path, path: Path, which: str, *, replace: bool
) -> Copied:
    """Bars into `target`, which is `path` or becomes it, in one transaction."""
    with _attached(db, target, create=target != path):
        db.execute(_CREATE)
        db.execute("BEGIN")
        with _undone_on_error(db):
            # It writes nothing, but waits for whoever writes there; who has only read is not let wait for a writer.
            db.execute(f"DELETE FROM part.{TABLE} WHERE 0")
            names = _same_columns(db, path)
            copied = _copy(db, path, names, which, replace=replace)
            faults.hit("data.partition.copy.before_commit")
            db.execute("COMMIT")
    return copied


def _named(fresh: Path, path: Path) -> bool:
    """Give a whole database its name; False, and it is gone, when another program has made one of that name since."""
    try:
        path.hardlink_to(fresh)
    except FileExistsError:
        _clear(fresh)
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise OutputError(
                f"{path}: must be a file that can be made: {error.strerror}; check the disk and run it again"
            ) from None
        if path.exists():
            _clear(fresh)
            return False
        fresh.rename(path)
        return True
    fresh.unlink()
    return True


def delete_month(db: sqlite3.Connection, path: Path, interval: str, month: Month) -> int:
    """Take the bars of a month out of the source, in one transaction; how many.

    DataError, and all of them stay, when one of them is not in `path`, or is there with other values.
    """
    faults.hit("data.partition.delete.before")
    which = _of_month(interval, month)
    with _attached(db, path, create=False):
        names = _columns(db, "main")
        db.execute("BEGIN IMMEDIATE")
        with _undone_on_error(db):
            missing = _first_unlike(db, names, which)
            if missing is not None:
                raise DataError(
                    f"{path}: must hold every bar before it leaves the source, {missing} came or changed meanwhile; "
                    "nothing of the month was deleted; run again"
                )
            n_deleted = db.execute(f"DELETE FROM main.{TABLE} WHERE {which}").rowcount
            faults.hit("data.partition.delete.before_commit")
            db.execute("COMMIT")
    faults.hit("data.partition.delete.after")
    return n_deleted


def vacuum(db: sqlite3.Connection) -> None:
    """Give the room of deleted bars back to the disk."""
    db.execute("VACUUM")


@contextmanager
def only_one(out_dir: Path) -> Iterator[None]:
    """Hold the folder of the months, made if absent, while bars move. ConflictError while another program does."""
    try:
        _make_folder(out_dir)
        descriptor = os.open(out_dir, os.O_RDONLY)
    except OSError as error:
        raise OutputError(f"{out_dir}: must be a folder to write to, is not ({error})") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConflictError(
            f"{out_dir} must not be in use, another program moves bars there: wait for it"
        ) from None
    finally:
        os.close(descriptor)


@contextmanager
def _undone_on_error(db: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _clear(path: Path) -> None:
    """Remove what a killed run left of a new database."""
    for suffix in ("", "-journal", "-wal", "-shm"):
        path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)


@contextmanager
def _attached(db: sqlite3.Connection, path: Path, *, create: bool) -> Iterator[None]:
    try:
        mode = "rwc" if create else "rw"
        db.execute(
            "ATTACH DATABASE ? AS part", (f"file:{quote(str(path.absolute()))}?mode={mode}",)
        )
    except (OSError, sqlite3.Error) as error:
        raise OutputError(f"{path}: must be a database that can be written to: {error}") from None
    try:
        db.execute("PRAGMA part.synchronous = FULL")
        yield
    except sqlite3.Error as error:
        raise OutputError(
            f"{path}: it and the source must be databases that can be written to: {error}"
        ) from None
    finally:
        db.execute("DETACH DATABASE part")


def _make_folder(folder: Path) -> None:
    absent = [one for one in (folder, *folder.parents) if not one.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for one in absent:
        _fsync(one.parent)


def _fsync(folder: Path) -> None:
    """Make names in a folder last: without it a crash may take away a file that is on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _columns(db: sqlite3.Connection, schema: str) -> list[str]:
    return [str(row[1]).lower() for row in db.execute(f"PRAGMA {schema}.table_info({TABLE})")]


def _same_columns(db: sqlite3.Connection, path: Path) -> list[str]:
    """Give the month's table every column of the source; their names."""
    key = {row[1].lower() for row in db.execute(f"PRAGMA part.table_info({TABLE})") if row[5]}
    if key != set(_KEY):
        raise DataError(
            f"{path}: the key of {TABLE} must be {', '.join(_KEY)}, is {', '.join(sorted(key)) or 'absent'}; "
            "move the file away"
        )
    names = _columns(db, "main")
    for name in sorted(set(names) - set(_columns(db, "part"))):
        db.execute(f'ALTER TABLE part.{TABLE} ADD COLUMN "{name}" {_TYPES.get(name, "")}')
    return names


def _of_month(interval: str, month: Month) -> str:
    label = interval.replace("'", "''")
    return f"interval = '{label}' AND t >= {month.from_ms} AND t < {month.to_ms}"


def _unlike(names: list[str], *, absent: bool) -> str:
    """Condition on a bar `s` of the source: it stands in the month's database with other values, or not at all."""
    values = [f'"{name}"' for name in names if name not in (*_KEY, *_NO_VALUE)]
    key = " AND ".join(f"p.{name} = s.{name}" for name in _KEY)
    alike = " AND ".join(f"p.{name} IS s.{name}" for name in values) or "1"
    if absent:
        return f"NOT EXISTS (SELECT 1 FROM part.{TABLE} AS p WHERE {key} AND {alike})"
    return f"EXISTS (SELECT 1 FROM part.{TABLE} AS p WHERE {key} AND NOT ({alike}))"


def _first_unlike(db: sqlite3.Connection, names: list[str], which: str) -> str | None:
    found = db.execute(
        f"SELECT symbol, t FROM main.{TABLE} AS s WHERE {which} AND {_unlike(names, absent=True)} "
        "ORDER BY t, symbol LIMIT 1"
    ).fetchone()
    return None if found is None else f"that of {found[0]} at {time_text(found[1])}"


def _copy(
    db: sqlite3.Connection, path: Path, names: list[str], which: str, *, replace: bool
) -> Copied:
    changed = f"FROM main.{TABLE} AS s WHERE {which} AND {_unlike(names, absent=False)}"
    n_changed = int(db.execute(f"SELECT count(*) {changed}").fetchone()[0])
    if n_changed and not replace:
        symbol, t = db.execute(f"SELECT symbol, t {changed} ORDER BY t, symbol LIMIT 1").fetchone()
        raise DataError(
            f"{path}: a bar must be the same here and in the source, {n_changed} are not, the first that of {symbol} "
            f"at {time_text(t)}; nothing was written; add --replace to take those of the source"
        )
    n_all = int(db.execute(f"SELECT count(*) FROM main.{TABLE} WHERE {which}").fetchone()[0])
    columns = ", ".join(f'"{name}"' for name in names)
    if n_changed:
        db.execute(f"REPLACE INTO part.{TABLE} ({columns}) SELECT {columns} {changed}")
    n_put = db.execute(
        f"INSERT OR IGNORE INTO part.{TABLE} ({columns}) "
        f"SELECT {columns} FROM main.{TABLE} WHERE {which} ORDER BY symbol, t"
    ).rowcount
    return Copied(path, n_put, n_all - n_put - n_changed, n_changed)
