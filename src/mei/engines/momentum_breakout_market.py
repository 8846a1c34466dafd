"""Candles as momentum_breakout walks over them: in the order of events, with the past its signals need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mei.model.bars import FloatArray, IntArray
from mei.model.candles import Candles, offsets_of
from mei.model.errors import ConfigError, DataError
from mei.model.replay import ReplayInputs
from mei.rules.momentum_breakout.records import Bars

_COLUMNS = ("open_ms", "open", "high", "low", "close")
Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Market:
    """Bars of all symbols twice: symbol after symbol for the windows, and in the order of events for the walk.

    symbols: ascending. offsets, open_ms, high, low, close: as in Candles. order: rows of those columns in the order of
    events, None when that is their own. first_step: first step that may trade; earlier ones are the signals' past.
    as_of_ms: when the state the run starts from was known, None = it starts from nothing. is_past_whole: of each
    symbol, whether no bar is known to lie before its first row.
    """

    interval_ms: int
    symbols: tuple[str, ...]
    offsets: IntArray
    open_ms: IntArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    order: IntArray | None
    bars: Bars
    first_step: int
    as_of_ms: int | None
    is_past_whole: tuple[bool, ...]

    def in_order(self, column: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A column of one value a bar, symbol after symbol, as the walk meets the bars."""
        return column if self.order is None else column[self.order]

    def rows_before(self, known_ms: int, number: int) -> slice:
        """Rows of symbol `number` that are known before `known_ms`."""
        first, end = int(self.offsets[number]), int(self.offsets[number + 1])
        n = int(np.searchsorted(self.open_ms[first:end], known_ms - self.interval_ms))
        return slice(first, first + n)


def prepare(inputs: ReplayInputs, lookback: int) -> Market:
    """The traded symbols' bars up to `to_ms`, behind the past that an init-state carries.

    Raises DataError for prices that are not finite, ConfigError when a continuation's past is too short for `lookback`.
    """
    candles = inputs.candles
    if inputs.traded is not None:
        candles = candles.restricted_to(inputs.traded)
    continuation = inputs.init_state.continuation if inputs.init_state else None
    as_of_ms = int(continuation["as_of_ms"]) if continuation else None
    names = _symbols(inputs, candles)
    parts = [_rows_of(candles, name, inputs.to_ms) for name in names]
    books: Mapping[str, Any] = continuation["books"] if continuation else {}
    if as_of_ms is not None:
        parts = [
            _behind_its_past(part, books.get(name), name, as_of_ms - candles.interval_ms, lookback)
            for name, part in zip(names, parts, strict=True)
        ]
    columns = parts[0] if len(parts) == 1 else _joined(parts)
    _check_finite(names, parts)
    market = _market(candles.interval_ms, names, columns, parts, inputs.from_ms, as_of_ms)
    is_whole = tuple(name not in books or books[name]["is_window_whole"] for name in names)
    return replace(market, is_past_whole=is_whole)


def _symbols(inputs: ReplayInputs, candles: Candles) -> tuple[str, ...]:
    """Symbols that have bars or a book to begin with, ascending by their bytes."""
    names = set(candles.symbols)
    state = inputs.init_state
    if state is not None:
        names |= set(state.continuation["books"]) if state.continuation else set()
        names |= set() if state.continuation else {held.symbol for held in state.positions}
    return tuple(sorted(names, key=lambda name: name.encode()))


def _rows_of(candles: Candles, name: str, to_ms: int | None) -> Columns:
    rows = candles.rows_of(name)
    if to_ms is not None:
        n = np.searchsorted(candles.open_ms[rows], to_ms - candles.interval_ms, side="right")
        rows = slice(rows.start, rows.start + int(n))
    columns: Columns = {}
    for column in _COLUMNS:
        kind = np.int64 if column == "open_ms" else np.float64
        columns[column] = np.require(getattr(candles, column)[rows], kind, ["C", "W"])
    return columns


def _behind_its_past(
    part: Columns, book: Mapping[str, Any] | None, name: str, newest_past_ms: int, lookback: int
) -> Columns:
    """The rows with the past the continuation carries, or with their own where that reaches back further."""
    n_past = int(np.searchsorted(part["open_ms"], newest_past_ms, side="right"))
    window = book["window"] if book else {column: [] for column in _COLUMNS}
    n_window = len(window["close"])
    if max(n_past, n_window) < lookback and book and not book["is_window_whole"]:
        raise ConfigError(
            f"lookback = {lookback} needs that many bars of {name} before the init-state's time, it carries "
            f"{n_window} and the candles hold {n_past}: give earlier candles or the lookback it was written with"
        )
    if n_past >= n_window:
        return part
    past = {"open": window["close"], **window}
    return {
        column: np.concatenate([np.asarray(past[column], dtype=rows.dtype), rows[n_past:]])
        for column, rows in part.items()
    }


def _joined(parts: list[Columns]) -> Columns:
    if not parts:
        return {
            name: np.zeros(0, np.int64 if name == "open_ms" else np.float64) for name in _COLUMNS
        }
    return {name: np.concatenate([part[name] for part in parts]) for name in _COLUMNS}


def _check_finite(names: tuple[str, ...], parts: list[Columns]) -> None:
    for name, part in zip(names, parts, strict=True):
        for column in _COLUMNS[1:]:
            is_finite = np.isfinite(part[column])
            if not is_finite.all():
                row = int(np.argmin(is_finite))
                raise DataError(
                    f"candles must hold finite prices, {column} of {name} at {part['open_ms'][row]} is "
                    f"{part[column][row]}"
                )


def _market(
    interval_ms: int,
    names: tuple[str, ...],
    columns: Columns,
    parts: list[Columns],
    from_ms: int | None,
    as_of_ms: int | None,
) -> Market:
    lengths = [len(part["close"]) for part in parts]
    known_ms = columns["open_ms"] + interval_ms
    symbol = np.repeat(np.arange(len(names), dtype=np.int64), lengths)
    order: IntArray | None = None
    starts = np.arange(len(known_ms) + 1, dtype=np.int64)
    prices = [columns[name] for name in _COLUMNS[1:]]
    if len(names) > 1:
        order = np.argsort(known_ms, kind="stable")
        known_ms, symbol = known_ms[order], symbol[order]
        prices = [column[order] for column in prices]
        is_new = np.ones(len(known_ms) + 1, dtype=np.bool_)
        is_new[1:-1] = known_ms[1:] != known_ms[:-1]
        starts = np.flatnonzero(is_new) if len(known_ms) else np.zeros(1, dtype=np.int64)
        known_ms = known_ms[starts[:-1]]
    begins = [
        edge for edge in (from_ms, None if as_of_ms is None else as_of_ms + 1) if edge is not None
    ]
    return Market(
        interval_ms=interval_ms,
        symbols=names,
        offsets=offsets_of(lengths),
        open_ms=columns["open_ms"],
        high=columns["high"],
        low=columns["low"],
        close=columns["close"],
        order=order,
        bars=Bars(known_ms, starts, symbol, *prices),
        first_step=int(np.searchsorted(known_ms, max(begins))) if begins else 0,
        as_of_ms=as_of_ms,
        is_past_whole=(),
    )
