"""A sweep over one symbol: walks that leap from signal to exit over what the configurations share.

Shared by all: the bars, trees and ranges of the market, and when prices first moved so many bps (`Track.falls_by`). Of
one window: bars that may have a signal. Of one piece: its signals and the tables of their exits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Any

import numpy as np

from mei.engines.bind import bind_cpu
from mei.engines.momentum_breakout import WindowKey, windows
from mei.engines.momentum_breakout_market import Market
from mei.engines.momentum_breakout_sweep_parts import Configs, Piece, day_ends, terms_of
from mei.model.bars import FloatArray, IntArray
from mei.model.settings import Costs, EntryFill
from mei.rules.momentum_breakout import leaps, passage, ranges, routes
from mei.rules.momentum_breakout import signals as signal_rules
from mei.rules.momentum_breakout.records import RecordArray
from mei.rules.momentum_breakout.settings import CHANNEL
from mei.rules.momentum_breakout.signals import SideArray
from mei.rules.momentum_breakout.tally import FIRST_SYMBOL, GROUP_DTYPE, TALLY_DTYPE

#: Bytes that known moves may take, and the tables of exits of one piece.
_MOST_MOVES, _MOST_TABLES = 48 << 20, 32 << 20
#: Configurations of a piece from which on a row of exits is filled at once instead of signal by signal.
_WHOLE_FROM = 4


@dataclass(frozen=True, slots=True)
class Candidates:
    """Bars that may have a signal of a window, with what their closes are compared with; shapes (n_candidates,)."""

    bars: IntArray
    close: FloatArray
    upper: FloatArray
    lower: FloatArray


class OneSymbol:
    """`Stages` of a market of one symbol."""

    def __init__(
        self, market: Market, balance_usd: float, costs: Costs, entry_fill: EntryFill
    ) -> None:
        self._market = _without_steps(market)
        self._costs = costs
        self._entry_fill: EntryFill = entry_fill
        n_bars = len(market.close)
        self._are_prices_positive = n_bars > 0 and float(market.low.min()) > 0.0
        self._n_moves = _MOST_MOVES // (8 * max(n_bars, 1))
        self._move_of: dict[float, int] = {}
        self._lock = Lock()
        self._scratch: SimpleQueue[_Scratch] = SimpleQueue()
        days = day_ends(market)
        self._run = leaps.Run(
            track_of(market, self._n_moves, entry_fill),
            ranges_of(market.close),
            days,
            market.first_step,
            balance_usd,
        )

    def base(self, window: WindowKey, threshold: float) -> Candidates:
        """Bars with a signal at this threshold; at a higher one there are no others.

        With prices of 0 or less a wider channel may be the narrower one: then every bar with a window may have one.
        """
        market = self._market
        found = windows(market, window)
        if self._are_prices_positive or window.signal != CHANNEL:
            sides = sides_of(window, threshold, True, market.close, found.upper, found.lower)
            bars = np.flatnonzero(sides)
        else:
            bars = np.flatnonzero(~np.isnan(found.upper))
        bars = bars[np.searchsorted(bars, market.first_step) :].astype(np.int64, copy=False)
        return Candidates(bars, market.close[bars], found.upper[bars], found.lower[bars])

    def run_piece(
        self, base: Candidates, piece: Piece, configs: Configs
    ) -> tuple[Any, Any, int, int]:
        """As `Stages` says."""
        found, n_long, n_short = self.signals_of(base, piece)
        n_configs = len(piece.numbers)
        tallies = np.empty(n_configs, dtype=TALLY_DTYPE)
        groups = np.empty((n_configs, FIRST_SYMBOL + 1), dtype=GROUP_DTYPE)
        try:
            scratch = self._scratch.get_nowait()
        except Empty:
            scratch = _Scratch(self._run.days)
        own = {name: column[piece.numbers] for name, column in configs.items()}
        self._walk(found, own, scratch, tallies, groups)
        self._scratch.put(scratch)
        return tallies, groups, n_long, n_short

    def signals_of(self, base: Candidates, piece: Piece) -> tuple[routes.Found, int, int]:
        """The signals of a piece that are filled, and how many long and short ones there are."""
        sides = sides_of(
            piece.window, piece.threshold, piece.allow_short, base.close, base.upper, base.lower
        )
        rows = np.flatnonzero(sides)
        bars, sides = base.bars[rows], sides[rows]
        n_long = int(np.count_nonzero(sides > 0))
        n_short = len(sides) - n_long
        track = self._run.track
        if track.fills_at_close == 0 and len(bars) and bars[-1] == len(track.prices) - 1:
            bars, sides = bars[:-1], sides[:-1]
        return found_of(bars, sides, track), n_long, n_short

    def _walk(
        self,
        found: routes.Found,
        own: Configs,
        scratch: _Scratch,
        tallies: RecordArray,
        groups: RecordArray,
    ) -> None:
        """Configurations `own` in one go, or in halves if their tables of exits would be too large."""
        n_configs = len(tallies)
        settings, cases = self.tables(own, n_configs)
        n_cells = len(settings) * len(found.signals)
        if n_cells * _Scratch.CELL_BYTES > _MOST_TABLES and n_configs > 1:
            half = n_configs // 2
            for part in (slice(0, half), slice(half, n_configs)):
                members = {name: column[part] for name, column in own.items()}
                self._walk(found, members, scratch, tallies[part], groups[part])
            return
        exits = scratch.exits(settings, len(found.signals))
        bind_cpu(leaps.walk_cases)(
            self._run._replace(days=scratch.days),
            found,
            exits,
            cases,
            terms_of(own, n_configs, self._costs, self._entry_fill),
            tallies,
            groups,
        )

    def tables(self, own: Configs, n_configs: int) -> tuple[RecordArray, RecordArray]:
        """The rows of the tables of exits (SETTING_DTYPE), and which of them each configuration reads (CASE_DTYPE)."""
        cases = np.zeros(n_configs, dtype=leaps.CASE_DTYPE)
        cases["row"] = np.arange(n_configs)
        parts = []
        n_rows = 0
        for kind, place, name in (
            (routes.STOPS, "stop", "stop_bps"),
            (routes.TARGETS, "target", "take_profit_bps"),
            (routes.PLAN, "plan", "max_hold_bars"),
        ):
            values, which, counts = np.unique(own[name], return_inverse=True, return_counts=True)
            part = np.zeros(len(values), dtype=routes.SETTING_DTYPE)
            part["kind"] = kind
            part["is_whole"] = counts >= _WHOLE_FROM
            if kind == routes.PLAN:
                part["max_hold_bars"] = values
            else:
                part["bps"] = values
                part["move"] = [self._move_of.get(bps, -1) for bps in values.tolist()]
            cases[place] = n_rows + which
            n_rows += len(values)
            parts.append(part)
        return np.concatenate(parts), cases

    def expect(self, pieces: Sequence[Piece], configs: Configs) -> None:
        """Make room for what is known of moves that several pieces ask for, while there is any."""
        uses: dict[float, int] = {}
        for piece in pieces:
            values = [configs[name][piece.numbers] for name in ("stop_bps", "take_profit_bps")]
            for bps in np.unique(np.concatenate(values)).tolist():
                uses[bps] = uses.get(bps, 0) + 1
        with self._lock:
            for bps, n_uses in uses.items():
                if n_uses > 1 and bps > 0.0 and len(self._move_of) < self._n_moves:
                    self._move_of.setdefault(bps, len(self._move_of))


class _Scratch:
    """What one thread writes to while it runs a piece, kept for the next one."""

    CELL_BYTES = 8 + routes.LEAVING_DTYPE.itemsize

    def __init__(self, days: RecordArray) -> None:
        self.days = days.copy()
        self._keys = np.empty(0, dtype=np.int64)
        self._leavings = np.empty(0, dtype=routes.LEAVING_DTYPE)

    def exits(self, settings: RecordArray, n_signals: int) -> routes.Exits:
        """Tables of so many rows and signals."""
        n_cells = len(settings) * n_signals
        if n_cells > len(self._keys):
            self._keys = np.empty(n_cells, dtype=np.int64)
            self._leavings = np.empty(n_cells, dtype=routes.LEAVING_DTYPE)
        shape = (len(settings), n_signals)
        return routes.Exits(
            settings,
            self._keys[:n_cells].reshape(shape),
            self._leavings[:n_cells].reshape(shape),
        )


def _without_steps(market: Market) -> Market:
    """The market as far as windows read it: large ones leave room for what is shared instead."""
    none = market.open_ms[:0]
    bars = market.bars._replace(known_ms=none, starts=none, symbol=none)
    return replace(market, open_ms=none, bars=bars)


def sides_of(
    window: WindowKey,
    threshold: float,
    allow_short: bool,
    close: FloatArray,
    upper: FloatArray,
    lower: FloatArray,
) -> SideArray:
    """The signal of each close against its window, as in a replay."""
    sides = np.empty(len(close), dtype=np.int8)
    if window.signal == CHANNEL:
        rule = bind_cpu(signal_rules.channel_sides)
        rule(close, upper, lower, threshold, allow_short, sides)
    else:
        bind_cpu(signal_rules.zscore_sides)(upper, threshold, allow_short, sides)
    return sides


def found_of(bars: IntArray, sides: SideArray, track: routes.Track) -> routes.Found:
    """Signals at these bars, none of which waits for a bar that is not there."""
    n_blocks = (len(track.prices) >> routes.LOOK_UP_BITS) + 1
    found = routes.Found(
        np.empty(len(bars), dtype=routes.SIGNAL_DTYPE), np.empty(n_blocks, dtype=np.int64)
    )
    bind_cpu(routes.write_signals)(bars, sides, track, found)
    return found


def track_of(market: Market, n_moves: int, entry_fill: EntryFill) -> routes.Track:
    """The bars of a market of one symbol."""
    n_bars = len(market.close)
    prices = np.empty(n_bars, dtype=routes.PRICES_DTYPE)
    for name in ("open", "high", "low", "close"):
        prices[name] = getattr(market.bars, name)
    starts = np.array(passage.level_starts(n_bars), dtype=np.int64)
    return routes.Track(
        prices,
        tree_of(market.low, starts),
        tree_of(-market.high, starts),
        starts,
        falls_by=np.zeros((n_moves, n_bars), dtype=np.int32),
        rises_by=np.zeros((n_moves, n_bars), dtype=np.int32),
        fills_at_close=int(entry_fill == "signal_close"),
    )


def tree_of(values: FloatArray, starts: IntArray) -> FloatArray:
    """Nodes of the tree of lows (`passage`) over the values."""
    nodes = np.full(int(starts[-1]), np.inf)
    nodes[: len(values)] = values
    bind_cpu(passage.grow)(nodes, starts)
    return nodes


def ranges_of(values: FloatArray) -> ranges.Ranges:
    """What finds the extremes of stretches of the values."""
    n_blocks = ranges.n_blocks_of(len(values))
    places = np.empty(len(values), dtype=ranges.PLACE_DTYPE)
    blocks = np.zeros(ranges.n_levels_of(n_blocks) * n_blocks, dtype=ranges.BLOCKS_DTYPE)
    found = ranges.Ranges(places, blocks, n_blocks)
    bind_cpu(ranges.measure)(values, found)
    return found
