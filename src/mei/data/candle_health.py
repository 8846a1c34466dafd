"""How fresh and how whole the newest candles of a database are.

Times in epoch ms UTC. A bar is named by its open; bars open on the grid of their interval, weeks on Monday.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mei.data.candle_db import TABLE, interval_ms_or_zero
from mei.data.price_jumps import Found, Jump, Spike, price_jumps, price_spikes
from mei.data.sqlite_file import reading, shown, symbols_in
from mei.data.stamps import grid_offset_ms
from mei.model.bars import IntArray
from mei.model.errors import DataError

_PRICES = ("o", "h", "l", "c")
_COLUMNS = ("symbol", "interval", "t", "t_close")
_BAR_DTYPE = np.dtype([("t", "<i8"), ("is_ms", "?"), *((name, "<f8") for name in _PRICES)])
#: Among so many of the newest rows the newest closed bar is looked for (specification part 3, section 8).
_N_NEWEST = 5


class Window(NamedTuple):
    """What is looked at: bars that opened at `now_ms - lookback_ms` or later and closed `grace_ms` ago or longer."""

    now_ms: int
    lookback_ms: int
    grace_ms: int

    def first_and_last(self, interval_ms: int) -> tuple[int, int]:
        """Opens of the first and the last bar that must be there; the last is before the first if none must."""
        offset_ms = grid_offset_ms(interval_ms)
        first = -((self.lookback_ms - self.now_ms + offset_ms) // interval_ms)
        last = (self.now_ms - self.grace_ms - interval_ms - offset_ms) // interval_ms
        return first * interval_ms + offset_ms, last * interval_ms + offset_ms


class Gap(NamedTuple):
    """Bars that are missing next to each other: `head`, `inside`, `tail` of the window, or the `whole` of it."""

    place: str
    from_ms: int
    to_ms: int
    n_bars: int


class SymbolHealth(NamedTuple):
    """What a database has of one symbol and interval.

    newest_ms: open of its newest bar, None when it has none. seen_ms: close of the newest closed bar, or else
    newest_ms. n_expected: bars that must be in the window; gaps: those of them that are not, in order of time.
    n_off_grid: bars of the window that open elsewhere than the interval says. jumps, spikes: of prices, onto
    bars of the window; None when the table has no prices.
    """

    symbol: str
    newest_ms: int | None
    seen_ms: int | None
    n_expected: int
    n_missing: int
    gaps: tuple[Gap, ...]
    n_off_grid: int
    jumps: Found[Jump] | None
    spikes: Found[Spike] | None


class CandleHealth(NamedTuple):
    """An open candle database. lacking: columns of prices that it has not; without one, no price is looked at."""

    path: str
    database: sqlite3.Connection
    lacking: tuple[str, ...]

    def symbols_by_interval(self) -> dict[str, list[str]]:
        """Which symbols have bars of which label. DataError for a label or a symbol that is no text."""
        query = f"SELECT min(interval) FROM {TABLE} WHERE symbol = ? AND interval > ?"
        found: dict[str, list[str]] = {}
        for symbol in symbols_in(self.database, self.path, TABLE):
            label = ""
            while (
                label := self.database.execute(query, (symbol, label)).fetchone()[0]
            ) is not None:
                if not isinstance(label, str):
                    raise DataError(
                        f"{self.path}: interval must be text, found {shown(label)} of {symbol}; correct the row"
                    )
                found.setdefault(label, []).append(symbol)
        return dict(sorted(found.items()))

    def look_at(self, symbol: str, interval: str, window: Window) -> SymbolHealth:
        """The bars of `symbol` labelled `interval`, a length of time. DataError for a time that is no integer."""
        step_ms = interval_ms_or_zero(interval)
        first_ms, last_ms = window.first_and_last(step_ms)
        newest = self._newest(symbol, interval)
        closed_by_ms = window.now_ms - window.grace_ms
        closes = [close for _, close in newest if close is not None and close <= closed_by_ms]
        newest_ms = newest[0][0] if newest else None
        bars = self._bars(symbol, interval, first_ms, last_ms)
        # Two bars of one open, where the table allows it, are one bar that is there.
        o, h, l, c = (bars[name] for name in _PRICES)  # noqa: E741 (as the columns are called)
        opens = bars["t"][bars["t"] >= first_ms]
        opens = opens[np.diff(opens, prepend=first_ms - 1) > 0]
        is_on_grid = (opens - first_ms) % step_ms == 0
        gaps = tuple(_gaps(opens[is_on_grid], first_ms, last_ms, step_ms))
        return SymbolHealth(
            symbol,
            newest_ms,
            max(closes) if closes else newest_ms,
            max((last_ms - first_ms) // step_ms + 1, 0),
            sum(gap.n_bars for gap in gaps),
            gaps,
            int(np.count_nonzero(~is_on_grid)),
            None if self.lacking else price_jumps(bars["t"], o, c, step_ms),
            None if self.lacking else price_spikes(bars["t"], o, h, l, c, step_ms),
        )

    def _newest(self, symbol: str, interval: str) -> list[tuple[int, int | None]]:
        rows = self.database.execute(
            f"SELECT t, t_close FROM {TABLE} WHERE symbol = ? AND interval = ? ORDER BY t DESC LIMIT {_N_NEWEST}",
            (symbol, interval),
        ).fetchall()
        for t, t_close in rows:
            if not isinstance(t, int) or not isinstance(t_close, int | None):
                raise DataError(
                    f"{self.path}: t and t_close must be integers (epoch ms), found t={shown(t)} "
                    f"t_close={shown(t_close)} of {symbol} ({interval}); correct the row or import it again"
                )
        return rows

    def _bars(self, symbol: str, interval: str, from_ms: int, to_ms: int) -> npt.NDArray[Any]:
        """Bars that open in from_ms..to_ms and the one before them; NaN for a price that is no number.

        DataError for a time in from_ms..to_ms that is no integer.
        """
        prices = ", ".join(
            "NULL"
            if self.lacking
            else f"CASE WHEN typeof({name}) IN ('real', 'integer') THEN {name} END"
            for name in _PRICES
        )
        of_series = "symbol = ?1 AND interval = ?2"
        rows = self.database.execute(
            f"SELECT CAST(t AS INTEGER), typeof(t) = 'integer', {prices} FROM {TABLE} WHERE {of_series} AND t <= ?4 "
            f"AND t >= coalesce((SELECT max(t) FROM {TABLE} WHERE {of_series} AND t < ?3), ?3) ORDER BY t",
            (symbol, interval, from_ms, to_ms),
        )
        bars: npt.NDArray[Any] = np.fromiter(rows, dtype=_BAR_DTYPE)
        if not bars["is_ms"].all():
            self._refuse_no_ms(symbol, interval, from_ms, to_ms)
            bars = bars[bars["is_ms"]]
        return bars

    def _refuse_no_ms(self, symbol: str, interval: str, from_ms: int, to_ms: int) -> None:
        found = self.database.execute(
            f"SELECT t FROM {TABLE} WHERE symbol = ? AND interval = ? AND t BETWEEN ? AND ? AND "
            "typeof(t) <> 'integer' ORDER BY t LIMIT 1",
            (symbol, interval, from_ms, to_ms),
        ).fetchone()
        if found is not None:
            raise DataError(
                f"{self.path}: t must be an integer (epoch ms), found {shown(found[0])} of {symbol} ({interval}); "
                "correct the row or import it again"
            )


@contextmanager
def candle_health(path: str) -> Iterator[CandleHealth]:
    """Open the candle database `path` to look at it. DataError, naming the file, when it cannot be read."""
    with reading(path, TABLE, _COLUMNS, "candle database") as database:
        there = {row[1].lower() for row in database.execute(f"PRAGMA table_info({TABLE})")}
        yield CandleHealth(path, database, tuple(name for name in _PRICES if name not in there))


def label_of_file(path: str) -> str | None:
    """The interval that the name of a candle database has: candles_1h.db, candles_1h_2026-03.db; None if none."""
    name = re.search(r"(?:^|/)candles_([^/_]+)(?:_[^/]*)?\.db$", path)
    return name[1] if name and interval_ms_or_zero(name[1]) else None


def _gaps(opens: IntArray, first_ms: int, last_ms: int, step_ms: int) -> Iterator[Gap]:
    """opens: ascending, on the grid, of first_ms to last_ms, both included."""
    if last_ms < first_ms:
        return
    around = np.concatenate(([first_ms - step_ms], opens, [last_ms + step_ms]))
    widths = np.diff(around)
    for place in np.flatnonzero(widths > step_ms).tolist():
        is_head, is_tail = place == 0, place == len(opens)
        name = (
            "whole"
            if is_head and is_tail
            else "head"
            if is_head
            else "tail"
            if is_tail
            else "inside"
        )
        before_ms, after_ms = int(around[place]), int(around[place + 1])
        yield Gap(
            name, before_ms + step_ms, after_ms - step_ms, (after_ms - before_ms) // step_ms - 1
        )
