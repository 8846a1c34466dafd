"""Candle databases: SQLite files with a table `candles(symbol, interval, t, t_close, o, h, l, c, v, n)`.

Key (symbol, interval, t); t is the open time and t_close the close time in epoch ms UTC, prices are in quote per base,
v in base units. A set of files is given as text: paths divided by commas, a directory standing for the *.db in it.
Where two files hold the same bar, the earlier file of the set wins; bars that differ there are told.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from mei.data.sqlite_file import reading, shown, symbols_in
from mei.data.stamps import time_text
from mei.model.bars import interval_ms
from mei.model.candles import Candles, offsets_of
from mei.model.errors import ConfigError, DataError

TABLE = "candles"
_WHAT = "candle database"
_PRICES = ("o", "h", "l", "c", "v")
_COLUMNS = ("symbol", "interval", "t", "t_close", *_PRICES)
_ROW_DTYPE = np.dtype([("t", "<i8"), *((name, "<f8") for name in _PRICES), ("whole", "?")])
_Rows = npt.NDArray[Any]


class _Differing(NamedTuple):
    """Bars that stand twice with different values: how many, and the first, in words."""

    n_bars: int
    first: str


#: What only an integer is equal to: a fraction, a text and NULL are not. Half the price of asking for the type.
_WHOLE = "(t | 0) = t AND (t_close | 0) = t_close"
_USABLE = " AND ".join(
    [f"typeof({name}) = 'integer'" for name in ("t", "t_close")]
    + [f"typeof({name}) IN ('real', 'integer')" for name in _PRICES]
)
_LENGTH = re.compile(r"0*([1-9]\d{0,3})([smhdw])")


def interval_ms_or_zero(label: str) -> int:
    """Length of a bar of `label` ("1m", "4H", "1d") in ms, whatever the case; 0 when it is no length of time."""
    length = _LENGTH.fullmatch(label.lower())
    return interval_ms(length[1] + length[2]) if length else 0


def expand_db_set(text: str) -> list[str]:
    """The files that a comma-separated set names, in order, each once.

    A directory gives its *.db, sorted; an empty one, like a missing path, stays as it is and fails when opened.
    """
    files: dict[str, None] = {}
    for part in (piece.strip() for piece in text.split(",")):
        if part:
            files.update(dict.fromkeys(_databases_in(part) or [part]))
    return list(files)


def load_candles(
    db_set: str,
    interval: str,
    *,
    from_ms: int | None = None,
    to_ms: int | None = None,
    tell: Callable[[str], None],
) -> Candles:
    """Every bar labelled `interval` with from_ms <= t <= to_ms (epoch ms UTC; None = open) of the set's files.

    `tell` hears one line for each file, and one when files disagree about bars. Empty when no bar fits. DataError,
    naming the file, for one that cannot be read, and naming symbol, t and column for a cell that is NULL or no number;
    ConfigError for a set without a file.
    """
    parts: dict[str, list[tuple[str, _Rows]]] = {}
    for path in _files(db_set):
        started = time.perf_counter()
        loaded = _load_file(path, interval, from_ms, to_ms)
        for symbol, rows in loaded.items():
            parts.setdefault(symbol, []).append((path, rows))
        n_bars = sum(map(len, loaded.values()))
        took_s = time.perf_counter() - started
        tell(
            f"[bt-data] Loaded {len(loaded)} symbols, {n_bars} bars in {took_s:.2f}s"
            f' from "{path}" (interval={interval}{_range_text(from_ms, to_ms)})'
        )
    symbols = sorted(parts, key=str.encode)
    kept = []
    differing: list[_Differing] = []
    for symbol in symbols:
        kept.append(_first_of_each(symbol, parts.pop(symbol), differing))
    if differing:
        tell(_differing_text(differing, interval))
    rows = np.concatenate([np.zeros(0, dtype=_ROW_DTYPE), *kept])
    return Candles(
        interval,
        interval_ms_or_zero(interval),
        tuple(symbols),
        offsets_of([len(part) for part in kept]),
        *(np.ascontiguousarray(rows[name]) for name in ("t", *_PRICES)),
    )


def has_symbol(db_set: str, interval: str, symbol: str) -> bool:
    """Whether any file of the set holds a bar of `symbol`, written just so, labelled `interval`. Raises DataError."""
    query = f"SELECT EXISTS (SELECT 1 FROM {TABLE} WHERE symbol = ? AND interval = ?)"
    for path in _files(db_set):
        with reading(path, TABLE, _COLUMNS, _WHAT) as database:
            if database.execute(query, (symbol, interval)).fetchone()[0]:
                return True
    return False


def time_range_ms(db_set: str, interval: str) -> tuple[int, int]:
    """First and last open time (epoch ms UTC) of all bars labelled `interval`; DataError when there are none."""
    ends: list[int] = []
    files = _files(db_set)
    for path in files:
        ends += _ends_of_file(path, interval)
    if not ends:
        raise DataError(
            f"{', '.join(files)}: there must be bars of interval {interval!r}, there are none;"
            f"{_other_intervals(files)} check the files and the interval"
        )
    return min(ends), max(ends)


def _files(db_set: str) -> list[str]:
    files = expand_db_set(db_set)
    if not files:
        raise ConfigError(
            f"a set of candle databases must name a file, was {db_set!r}; give paths divided by commas"
        )
    return files


def _databases_in(path: str) -> list[str]:
    if not Path(path).is_dir():
        return []
    names = [entry.name for entry in Path(path).iterdir() if entry.suffix.lower() == ".db"]
    return [os.path.join(path, name) for name in sorted(names, key=os.fsencode)]  # noqa: PTH118 (keeps the text given)


def _range_text(from_ms: int | None, to_ms: int | None) -> str:
    if from_ms is None and to_ms is None:
        return ""
    ends = ("" if end is None else str(end) for end in (from_ms, to_ms))
    return f", range={'..'.join(ends)}"


def _load_file(
    path: str, interval: str, from_ms: int | None, to_ms: int | None
) -> dict[str, _Rows]:
    bounds = [bound for bound in (from_ms, to_ms) if bound is not None]
    where = "symbol = ? AND interval = ?"
    where += " AND t >= ?" * (from_ms is not None) + " AND t <= ?" * (to_ms is not None)
    query = f"SELECT t, {', '.join(_PRICES)}, {_WHOLE} FROM {TABLE} WHERE {where} ORDER BY t"
    loaded: dict[str, _Rows] = {}
    with reading(path, TABLE, _COLUMNS, _WHAT) as database:
        symbols = symbols_in(database, path, TABLE)
        database.text_factory = _no_text
        for symbol in symbols:
            asked = (symbol, interval, *bounds)
            try:
                rows = np.fromiter(database.execute(query, asked), dtype=_ROW_DTYPE)
            except (TypeError, ValueError, OverflowError):
                rows = None
            if rows is None or not _all_numbers(rows):
                _refuse(database, path, where, asked)
            if len(rows):
                loaded[symbol] = rows
    return loaded


def _no_text(text: bytes) -> float:
    raise TypeError(f"{text!r} is no number")


def _all_numbers(rows: _Rows) -> bool:
    """Whether no cell was NULL or of another type; SQLite stores no NaN, so that a NaN was NULL."""
    return bool(rows["whole"].all()) and not any(np.isnan(rows[name]).any() for name in _PRICES)


def _refuse(
    database: sqlite3.Connection, path: str, where: str, asked: Sequence[object]
) -> NoReturn:
    columns = ("t", "t_close", *_PRICES)
    query = f"SELECT {', '.join(columns)} FROM {TABLE} WHERE {where} AND NOT ({_USABLE}) ORDER BY t"
    database.text_factory = str
    row = database.execute(query, asked).fetchone()
    assert row is not None, "what numpy refuses, SQLite finds"
    at = f"in the bar of {asked[0]} ({asked[1]}) at t={shown(row[0])}"
    for name, cell in zip(columns, row, strict=True):
        is_price = name in _PRICES
        if not isinstance(cell, (int, float) if is_price else int):
            wanted = "a number" if is_price else "an integer (epoch ms)"
            raise DataError(
                f"{path}: {name} must be {wanted}, found {shown(cell)} {at}; correct the row or import it again"
            )
    raise AssertionError("the row that SQLite finds has such a cell")


def _first_of_each(
    symbol: str, parts: list[tuple[str, _Rows]], differing: list[_Differing]
) -> _Rows:
    """The rows of all parts, strictly ascending; of equal t the one of the earliest part.

    What is left out although it is not the same goes to `differing`.
    """
    rows = parts[0][1] if len(parts) == 1 else np.concatenate([part for _, part in parts])
    if (rows["t"][1:] > rows["t"][:-1]).all():
        return rows
    order = np.argsort(rows["t"], kind="stable")
    rows = rows[order]
    is_first = np.concatenate(([True], rows["t"][1:] != rows["t"][:-1]))
    first_of = np.flatnonzero(is_first)[np.cumsum(is_first) - 1]
    is_other = np.zeros(len(rows), dtype=np.bool_)
    for name in _PRICES:
        is_other |= rows[name] != rows[name][first_of]
    if is_other.any():
        other = int(np.argmax(is_other))
        pair = (int(first_of[other]), other)
        ends = np.cumsum([len(part) for _, part in parts])
        paths = [parts[int(np.searchsorted(ends, order[row], "right"))][0] for row in pair]
        column = next(name for name in _PRICES if rows[name][pair[0]] != rows[name][pair[1]])
        told = " and ".join(
            f'{column}={float(rows[column][row])} in "{path}"'
            for row, path in zip(pair, paths, strict=True)
        )
        first = f"{symbol} at {time_text(int(rows['t'][other]))} with {told}"
        differing.append(_Differing(int(np.count_nonzero(is_other)), first))
    return rows[is_first]


def _differing_text(differing: list[_Differing], interval: str) -> str:
    n_bars = sum(one.n_bars for one in differing)
    return (
        f"[bt-data] Warning: a bar must be the same wherever it stands, {n_bars} bars ({interval}) of {len(differing)} "
        f"symbols are not, the first {differing[0].first}: the one of the earlier file is taken; import the wrong "
        "file again or leave it out"
    )


def _ends_of_file(path: str, interval: str) -> list[int]:
    where = f"FROM {TABLE} WHERE symbol = ?1 AND interval = ?2"
    query = f"SELECT (SELECT min(t) {where}), (SELECT max(t) {where})"
    ends: list[int] = []
    with reading(path, TABLE, _COLUMNS, _WHAT) as database:
        for symbol in symbols_in(database, path, TABLE):
            for end in database.execute(query, (symbol, interval)).fetchone():
                if isinstance(end, int):
                    ends.append(end)
                elif end is not None:
                    raise DataError(
                        f"{path}: t must be an integer (epoch ms), found {shown(end)} in a bar of {symbol};"
                        " correct the row or import it again"
                    )
    return ends


def _other_intervals(files: list[str]) -> str:
    found: set[str] = set()
    for path in files:
        with reading(path, TABLE, _COLUMNS, _WHAT) as database:
            found |= {row[0] for row in database.execute(f"SELECT DISTINCT interval FROM {TABLE}")}
    return f" found {', '.join(sorted(map(str, found)))};" if found else " the table is empty;"
