"""Bars and rates for a paper trader: which boundaries may be taken, what is new, what is missing, what came late.

A boundary is a close of a main bar, or of a sub-bar where those are configured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mei.data.candle_check import refuse_impossible, refuse_spacing
from mei.data.candle_db import interval_ms_or_zero, load_candles, time_range_ms
from mei.data.funding_check import refuse_unusable
from mei.data.funding_db import funding_extents, load_funding
from mei.data.stamps import grid_offset_ms
from mei.data.trading_db import stamp_text
from mei.data.universe_db import active_symbols
from mei.model.candles import Candles, FundingRates, offsets_of
from mei.model.errors import DataError
from mei.model.semantics import STRICT
from mei.workflows.market import (
    LoadCandles,
    MarketRequest,
    Series,
    Sources,
    files_read,
    unknown_symbol,
)
from mei.workflows.paper.state import PaperState

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
#: Bars of a series that a symbol may lack before it is no longer waited for.
_GONE_AFTER = 24
#: So long a symbol may lack main bars before a first start no longer waits for it; longer bars: as many as above.
_DELISTED_AFTER_MS = 7 * _DAY_MS
#: Rates no older than this say how often there is one, and are waited for.
_RATES_MS = 3 * _DAY_MS
#: Graces that bars of an outage are waited for at most, while they come.
_MOST_GRACES = 20
#: Boundaries looked at one by one in a look.
_MOST_LOOKED_AT = 500
#: Main bars back from the state in which holes are looked at for bars that came late.
_LATE_WITHIN = 500
_COLUMNS = ("open_ms", "open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class _Fetch:
    """Bars of more than one main close are new: since when, how many after a moment (from_ms), and when the last came.

    Times in epoch ms UTC.
    """

    begun_ms: int
    from_ms: int
    n_bars: int
    changed_ms: int


@dataclass(frozen=True, slots=True)
class Odd:
    """A bar that is not as it was when its boundary was taken. what: `late` (was not there) or `changed`."""

    series: str
    symbol: str
    open_ms: int
    what: str

    @property
    def key(self) -> str:
        """What it is remembered by."""
        return f"{self.open_ms}:{self.series}:{self.symbol}:{self.what}"


class Feed:
    """The databases of a trader."""

    def __init__(
        self,
        sources: Sources,
        market: MarketRequest,
        tell: Callable[[str], None],
        load: LoadCandles = load_candles,
    ) -> None:
        self._market = market
        self._tell = tell
        self._load = load
        finer = (("exit", sources.exit), ("entry", sources.entry))
        self._series: dict[str, Series] = {"main": sources.main}
        self._series |= {name: one for name, one in finer if one is not None}
        self._length_ms = {
            name: interval_ms_or_zero(one.interval) for name, one in self._series.items()
        }
        paths = dict(files_read(market, sources))
        self._universe_db = paths["--universe-db"]
        self._fetch: _Fetch | None = None

    @property
    def main_ms(self) -> int:
        """Length of a main bar."""
        return self._length_ms["main"]

    @property
    def traded(self) -> frozenset[str] | None:
        """The only symbol that is traded; None = all."""
        symbol = self._market.symbol
        return None if symbol is None else frozenset({symbol})

    def newest_ms(self, now_ms: int) -> int:
        """The newest boundary at or before a moment."""
        return max(_at_or_before(length, now_ms) for length in self._length_ms.values())

    def next_ms(self, after_ms: int) -> int:
        """The first boundary after a moment."""
        return min(_at_or_before(length, after_ms) + length for length in self._length_ms.values())

    def next_main_ms(self, after_ms: int) -> int:
        """The first close of main bars after a moment."""
        return _at_or_before(self.main_ms, after_ms) + self.main_ms

    def settled_ms(
        self,
        as_of_ms: int | None,
        now_ms: int,
        grace_ms: int,
        held: Mapping[str, Any],
        *,
        awaits_fetches: bool = False,
    ) -> int:
        """Until which boundary may be taken: those older than the grace, and those after it whose bars are all there.

        None after the newest close there is, whatever the clock says: bars that an outage keeps back are waited for.
        A main close needs a main bar at or after it. as_of_ms: what is taken already; None = nothing is.
        awaits_fetches: bars of several main closes that come symbol by symbol have the grace after the last that came.
        """
        if as_of_ms is not None and self.newest_ms(now_ms) <= as_of_ms:
            return as_of_ms
        last_ms = self._last_ms(as_of_ms, now_ms)
        until_ms = min(self.newest_ms(now_ms - grace_ms), last_ms)
        if as_of_ms is not None:
            if awaits_fetches and self._is_fetching(as_of_ms, last_ms, now_ms, grace_ms):
                until_ms = as_of_ms
            until_ms = max(until_ms, as_of_ms)
        for _ in range(_MOST_LOOKED_AT):
            following_ms = self.next_ms(until_ms)
            if following_ms > last_ms or not self._is_complete(following_ms, held):
                break
            until_ms = following_ms
        return until_ms

    def refuse_old(self, now_ms: int, grace_ms: int) -> None:
        """DataError when the newest main bar is more than two intervals and the grace old: newer ones are awaited."""
        main = self._series["main"]
        newest_ms = max(self._newest_closes(None, now_ms).values(), default=0)
        if newest_ms == 0:
            newest_ms = time_range_ms(main.db_set, main.interval)[1] + self.main_ms
        if now_ms - newest_ms > grace_ms + 2 * self.main_ms:
            raise DataError(
                f"{main.label}: candles must reach to the present, they end at {stamp_text(newest_ms)}: waiting for "
                "newer ones"
            )

    def refuse_unfinished(self, now_ms: int, grace_ms: int) -> None:
        """DataError while main bars are still being fetched: waited for, with what.

        They reach to the present when the newest is at most two intervals and the grace old, and that of every symbol
        traded at most one interval and the grace older than the newest of all. Symbols without a bar for days are not
        waited for (`delisted`).
        """
        self.refuse_old(now_ms, grace_ms)
        closes = self._newest_closes(None, now_ms)
        main = self._series["main"]
        newest_ms = max(closes.values(), default=0)
        behind = [
            name
            for name, close_ms in closes.items()
            if (self.traded is None or name in self.traded)
            and newest_ms - close_ms > self.main_ms + grace_ms
        ]
        if behind:
            first = min(behind, key=lambda name: (closes[name], name))
            raise DataError(
                f"{main.label}: candles of every symbol must reach to {stamp_text(newest_ms)} to begin, those of "
                f"{len(behind)} do not ({first} ends at {stamp_text(closes[first])}): waiting for them"
            )

    def delisted(self, state: PaperState) -> list[str]:
        """Symbols whose newest main bar is so old that a first start does not wait for them."""
        oldest_ms = state.as_of_ms - self._delisted_after_ms
        return [
            name
            for name, kept in state.symbols.items()
            if kept["bars"]["open_ms"] and kept["bars"]["open_ms"][-1] + self.main_ms < oldest_ms
        ]

    def not_waited_for(self, state: PaperState) -> list[str]:
        """Symbols whose newest main bar is so old that the next main close does not wait for them."""
        begin_ms = self.next_main_ms(state.as_of_ms) - (_GONE_AFTER + 1) * self.main_ms
        held = state.held()
        opens = {name: kept["bars"]["open_ms"] for name, kept in state.symbols.items()}
        return [
            name
            for name, open_ms in opens.items()
            if name not in held and (not open_ms or open_ms[-1] + self.main_ms <= begin_ms)
        ]

    def history(self, as_of_ms: int) -> Candles:
        """Every main bar known at a boundary. Raises DataError when there is none, or one that cannot be."""
        main = self._series["main"]
        candles = self._bars("main", None, as_of_ms)
        if candles.n_rows == 0:
            raise DataError(
                f"there must be candles of interval {main.interval!r} in {main.label} to begin with, there are none "
                f"that are known at {as_of_ms}: check --candles-db and --interval, or import some"
            )
        symbol = self._market.symbol
        if symbol is not None and symbol not in candles.symbols:
            raise DataError(unknown_symbol(symbol, candles, main.label, STRICT))
        candles = self._listed(candles, None, as_of_ms, ())
        self._check("main", candles)
        if self._market.funding_db is not None:
            path = self._market.funding_db
            refuse_unusable(path, funding_extents(path), candles.symbols)
        return candles

    def main_bars(self, state: PaperState, until_ms: int) -> Candles:
        """The main bars that become known after the state, until a boundary, and of each symbol the newest before.

        The one before is there for the symbol to be known; a continuation leaves it out.
        """
        new = self._bars("main", state.as_of_ms, until_ms)
        held = {**state.held(), **state.ordered()}
        new = self._listed(new, int(state.continuation["from_ms"]), until_ms, held)
        kept = {name: _last(one["bars"]) for name, one in state.symbols.items()}
        candles = _joined(new, kept)
        self._check("main", candles)
        return candles

    def finer_bars(
        self, name: str, after_ms: int, until_ms: int, symbols: Iterable[str]
    ) -> Candles | None:
        """The sub-bars of series `exit` or `entry` that become known in between; None where there is no series."""
        if name not in self._series:
            return None
        candles = self._bars(name, after_ms, until_ms).restricted_to(symbols)
        self._check(name, candles)
        return candles

    def rates(self, state: PaperState | None, until_ms: int, symbols: Iterable[str]) -> Any:
        """Funding rates for positions held, from the one that held when they last paid; None without a database."""
        path = self._market.funding_db
        if path is None:
            return None
        if state is None:
            # Nothing is paid before the first boundary.
            return FundingRates((), offsets_of([]), np.zeros(0, np.int64), np.zeros(0))
        paid = [int(slot["funded_ms"]) for slot in state.held().values()]
        from_ms = min([state.as_of_ms - self.main_ms, *paid])
        found = load_funding(
            path, from_ms=from_ms, to_ms=until_ms, tell=self._hear, and_before=True
        )
        return found.restricted_to(symbols)

    def missing(self, state: PaperState, until_ms: int) -> dict[str, dict[str, int]]:
        """How many bars are missing after the state until a boundary: series -> symbol -> number, those with any.

        Counted for symbols that had a bar not long before, and for all that are held.
        """
        found: dict[str, dict[str, int]] = {}
        held = state.held()
        for name, length_ms in self._length_ms.items():
            begin_ms = _at_or_before(length_ms, state.as_of_ms)
            end_ms = _at_or_before(length_ms, until_ms)
            if end_ms == begin_ms:
                continue
            candles = self._tradable(self._bars(name, begin_ms - _GONE_AFTER * length_ms, end_ms))
            names = set(candles.symbols) | (set(held) if name == "main" else set())
            for symbol in sorted(names, key=str.encode):
                known = candles.open_ms[candles.rows_of(symbol)] + length_ms
                first_ms = begin_ms + length_ms
                if symbol not in held and len(known):
                    first_ms = max(first_ms, int(known[0]))
                wanted = (end_ms - first_ms) // length_ms + 1
                n_missing = wanted - int(np.sum(known >= first_ms))
                if n_missing > 0:
                    found.setdefault(name, {})[symbol] = n_missing
        return found

    def odd(self, state: PaperState) -> list[Odd]:
        """Bars that a boundary was taken without, or with other prices.

        Main bars: those of the last few boundaries, and wherever a symbol has a hole that is no older than
        _LATE_WITHIN bars. Sub-bars: those of the main bar that is not over.
        """
        found: list[Odd] = []
        for name, key in (("main", "bars"), ("exit", "exits"), ("entry", "entries")):
            if name not in self._series:
                continue
            length_ms = self._length_ms[name]
            if name == "main":
                begin_ms = self._first_hole_ms(state) - 4 * length_ms
            else:
                begin_ms = state.as_of_ms - self.main_ms + length_ms
            candles = self._bars(name, begin_ms, state.as_of_ms)
            for symbol, kept in state.symbols.items():
                is_cut = name == "main" and len(kept[key]["open_ms"]) < kept["n_bars"]
                found += _odd(name, symbol, candles, kept[key], knows_all=not is_cut)
        return found

    def _first_hole_ms(self, state: PaperState) -> int:
        """Close of the first main bar a symbol lacks after the first it has kept; the state's time without a hole."""
        length_ms = self.main_ms
        last_ms = _at_or_before(length_ms, state.as_of_ms)
        first_ms = last_ms
        for kept in state.symbols.values():
            closes = np.array(kept["bars"]["open_ms"], np.int64) + length_ms
            closes = closes[closes > last_ms - _LATE_WITHIN * length_ms]
            if len(closes):
                wanted = np.arange(int(closes[0]), last_ms + 1, length_ms)
                lacking = wanted[~np.isin(wanted, closes)]
                first_ms = min([first_ms, *lacking[:1].tolist()])
        return first_ms

    def unpaid(
        self, held: Iterable[str], after_ms: int, until_ms: int
    ) -> tuple[list[str], list[str]]:
        """Symbols held whose rate of the newest hour is not there, and those whose rates have stopped or never were.

        The hour: the newest between two boundaries, the first one left out. The first list: the rates before say that
        there should be one. The second: the newest is older than two of the spans between them.
        """
        hour_ms = until_ms // _HOUR_MS * _HOUR_MS
        path = self._market.funding_db
        lacking: list[str] = []
        stopped: list[str] = []
        if path is None or hour_ms <= after_ms:
            return lacking, stopped
        found = load_funding(
            path, from_ms=hour_ms - 2 * _RATES_MS, to_ms=hour_ms, tell=self._hear, and_before=True
        )
        for symbol in held:
            times = _times_of(found, symbol)
            span_ms = int(times[-1] - times[-2]) if len(times) > 1 else _RATES_MS // 2
            if not len(times) or hour_ms - times[-1] > min(2 * span_ms, _RATES_MS):
                stopped.append(symbol)
            elif times[-1] + span_ms <= hour_ms:
                lacking.append(symbol)
        return lacking, stopped

    def _is_rate_awaited(self, held: Iterable[str], boundary_ms: int) -> bool:
        """Whether a symbol held lacks a rate of an hourly boundary, of those that had some lately."""
        path = self._market.funding_db
        if path is None or boundary_ms % _HOUR_MS:
            return False
        from_ms = boundary_ms - _RATES_MS
        found = load_funding(path, from_ms=from_ms, to_ms=boundary_ms, tell=self._hear)
        for symbol in held:
            times = _times_of(found, symbol)
            if len(times) > 1 and 2 * times[-1] - times[-2] <= boundary_ms:
                return True
        return False

    @property
    def _delisted_after_ms(self) -> int:
        return max(_DELISTED_AFTER_MS, _GONE_AFTER * self.main_ms)

    def _last_ms(self, as_of_ms: int | None, now_ms: int) -> int:
        """The newest boundary that bars reach to, by now."""
        since_ms = now_ms - self._delisted_after_ms if as_of_ms is None else as_of_ms
        closes = {
            name: max(self._newest_closes(since_ms, now_ms, name).values(), default=since_ms)
            for name in self._length_ms
        }
        # A finer bar says nothing of main bars: the next main close waits for one.
        before_ms = self.next_main_ms(closes["main"]) - 1
        return self.newest_ms(min(max(closes.values()), before_ms))

    def _is_fetching(self, as_of_ms: int, last_ms: int, now_ms: int, grace_ms: int) -> bool:
        """Whether the bars of an outage are still coming; how long nothing came is kept from look to look."""
        if last_ms - as_of_ms <= self.main_ms:
            self._fetch = None
            return False
        from_ms = as_of_ms if self._fetch is None else self._fetch.from_ms
        n_bars = sum(self._bars(name, from_ms, now_ms).n_rows for name in self._series)
        was = self._fetch or _Fetch(now_ms, from_ms, n_bars, now_ms)
        if was.n_bars != n_bars:
            was = replace(was, n_bars=n_bars, changed_ms=now_ms)
        self._fetch = was
        return (
            now_ms - was.changed_ms < grace_ms and now_ms - was.begun_ms < _MOST_GRACES * grace_ms
        )

    def _newest_closes(
        self, after_ms: int | None, now_ms: int, name: str = "main"
    ) -> dict[str, int]:
        """When the newest bar of each symbol closed, of those that closed after a moment, by now. None: lately."""
        if after_ms is None:
            after_ms = now_ms - self._delisted_after_ms
        candles = self._bars(name, after_ms, now_ms)
        length_ms = self._length_ms[name]
        return {
            symbol: int(candles.open_ms[candles.rows_of(symbol)][-1]) + length_ms
            for symbol in candles.symbols
        }

    def _is_complete(self, boundary_ms: int, held: Mapping[str, Any]) -> bool:
        for name, length_ms in self._length_ms.items():
            if _at_or_before(length_ms, boundary_ms) != boundary_ms:
                continue
            begin_ms = boundary_ms - (_GONE_AFTER + 1) * length_ms
            candles = self._tradable(self._bars(name, begin_ms, boundary_ms))
            wanted = set(candles.symbols) | (set(held) if name == "main" else set())
            newest = candles.open_ms + length_ms == boundary_ms
            there = {s for s in candles.symbols if newest[candles.rows_of(s)].any()}
            if not wanted or wanted - there:
                return False
        return not self._is_rate_awaited(held, boundary_ms)

    def _tradable(self, candles: Candles) -> Candles:
        return candles if self.traded is None else candles.restricted_to(self.traded)

    def _listed(
        self, candles: Candles, from_ms: int | None, until_ms: int, held: Iterable[str]
    ) -> Candles:
        if not self._market.universe_filter or self._universe_db is None:
            return candles
        active = active_symbols(
            self._universe_db, until_ms if from_ms is None else from_ms, until_ms
        )
        return candles.restricted_to({*active, *held})

    def _bars(self, name: str, after_ms: int | None, until_ms: int) -> Candles:
        """Bars of a series that become known after a moment, until another."""
        series, length_ms = self._series[name], self._length_ms[name]
        from_ms = None if after_ms is None else after_ms - length_ms + 1
        return self._load(
            series.db_set,
            series.interval,
            from_ms=from_ms,
            to_ms=until_ms - length_ms,
            tell=self._hear,
        )

    def _check(self, name: str, candles: Candles) -> None:
        label = self._series[name].label
        refuse_spacing(candles, label)
        refuse_impossible(candles, label)

    def _hear(self, line: str) -> None:
        # What was loaded is told by a replay once, not by a trader at every boundary.
        if "Warning" in line:
            self._tell(line)


def _at_or_before(length_ms: int, moment_ms: int) -> int:
    offset_ms = grid_offset_ms(length_ms)
    return (moment_ms - offset_ms) // length_ms * length_ms + offset_ms


def _last(bars: Mapping[str, Any]) -> list[Any]:
    """The last of some bars as columns of one row each, or of none."""
    kinds = [np.int64, *[np.float64] * (len(_COLUMNS) - 1)]
    return [
        np.array(bars[name][-1:], dtype=kind) for name, kind in zip(_COLUMNS, kinds, strict=True)
    ]


def _joined(candles: Candles, before: Mapping[str, list[Any]]) -> Candles:
    """Candles with rows in front of those of each symbol that come after them."""
    names = tuple(sorted({*candles.symbols, *before}, key=str.encode))
    parts = []
    for name in names:
        rows = candles.rows_of(name)
        columns: list[Any] = [column[rows] for column in candles.columns()]
        if name in before and len(before[name][0]):
            is_after = columns[0] > before[name][0][-1]
            columns = [
                np.concatenate([old, column[is_after]])
                for old, column in zip(before[name], columns, strict=True)
            ]
        parts.append(columns)
    lengths = offsets_of([len(part[0]) for part in parts])
    joined: list[Any] = [
        np.concatenate([part[i] for part in parts]) if parts else candles.columns()[i]
        for i in range(len(_COLUMNS))
    ]
    return Candles(candles.interval, candles.interval_ms, names, lengths, *joined)


def _times_of(rates: FundingRates, symbol: str) -> Any:
    """Times of a symbol's rates, ascending; empty without any."""
    if symbol not in rates.symbols:
        return rates.time_ms[:0]
    number = rates.symbols.index(symbol)
    return rates.time_ms[rates.offsets[number] : rates.offsets[number + 1]]


def _odd(
    name: str, symbol: str, candles: Candles, kept: Mapping[str, Any], *, knows_all: bool
) -> list[Odd]:
    """knows_all: main bars before the first that is kept were never used."""
    rows = candles.rows_of(symbol)
    columns = [column[rows].tolist() for column in candles.columns()]
    prices = ([float(value) for value in kept[column]] for column in _COLUMNS[1:])
    seen = dict(zip(kept["open_ms"], zip(*prices, strict=True), strict=True))
    found = []
    for open_ms, *values in zip(*columns, strict=True):
        if open_ms not in seen:
            # Before the first that is kept nobody knows.
            if (name == "main" and knows_all) or (seen and open_ms > min(seen)):
                found.append(Odd(name, symbol, open_ms, "late"))
        elif tuple(values) != seen[open_ms]:
            found.append(Odd(name, symbol, open_ms, "changed"))
    return found
