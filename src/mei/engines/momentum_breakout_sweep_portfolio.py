"""A sweep over several symbols: what one symbol trades changes what the account can buy of the next.

So no leap is possible, and each configuration is the walk of a replay over the signals it shares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from mei.engines.bind import bind_cpu
from mei.engines.momentum_breakout import SignalKey, WindowKey, Windows, signals, windows
from mei.engines.momentum_breakout_market import Market
from mei.engines.momentum_breakout_state import start_of
from mei.engines.momentum_breakout_sweep_parts import Configs, Piece, day_ends, terms_of
from mei.model.bars import FloatArray
from mei.model.replay import TRADE_DTYPE, ReplayInputs
from mei.model.settings import Costs, EntryFill
from mei.rules.momentum_breakout import portfolio_cases
from mei.rules.momentum_breakout.records import RecordArray
from mei.rules.momentum_breakout.tally import FIRST_SYMBOL, GROUP_DTYPE, TALLY_DTYPE

_FIRST_CAPACITY = 65_536


class Portfolio:
    """`Stages` of a market of several symbols, or of none."""

    def __init__(
        self,
        market: Market,
        inputs: ReplayInputs,
        settings: Mapping[str, Any],
        costs: Costs,
        entry_fill: EntryFill,
    ) -> None:
        self._market = market
        self._costs = costs
        self._entry_fill: EntryFill = entry_fill
        self._start = start_of(inputs, market, settings)
        self._days = day_ends(market)
        self._scratch: SimpleQueue[tuple[RecordArray, FloatArray, RecordArray]] = SimpleQueue()

    def base(self, window: WindowKey, threshold: float) -> Windows:
        """What closes are compared with, whatever the threshold."""
        return windows(self._market, window)

    def expect(self, pieces: Sequence[Piece], configs: Configs) -> None:
        """Nothing is shared between pieces but windows."""

    def run_piece(self, base: Windows, piece: Piece, configs: Configs) -> tuple[Any, Any, int, int]:
        """As `Stages` says."""
        market = self._market
        found = signals(market, base, SignalKey(piece.window, piece.threshold, piece.allow_short))
        in_window = found.sides[market.bars.starts[market.first_step] :]
        n_configs = len(piece.numbers)
        tallies = np.empty(n_configs, dtype=TALLY_DTYPE)
        groups = np.empty((n_configs, FIRST_SYMBOL + len(market.symbols)), dtype=GROUP_DTYPE)
        own = {name: column[piece.numbers] for name, column in configs.items()}
        terms = terms_of(own, n_configs, self._costs, self._entry_fill)
        trades, curve, days = self._own_scratch()
        while True:
            n_trades = bind_cpu(portfolio_cases.walk_portfolios)(
                market.bars,
                found.sides,
                found.candidates,
                market.first_step,
                terms,
                self._start.books,
                self._start.account,
                self._start.books.copy(),
                self._start.account.copy(),
                trades,
                curve,
                days,
                tallies,
                groups,
            )
            if n_trades <= len(trades):
                break
            trades = np.zeros(n_trades, dtype=TRADE_DTYPE)
        self._scratch.put((trades, curve, days))
        n_long = int(np.count_nonzero(in_window > 0))
        return tallies, groups, n_long, int(np.count_nonzero(in_window < 0))

    def _own_scratch(self) -> tuple[RecordArray, FloatArray, RecordArray]:
        """Trades, curve and days that no other thread writes to."""
        try:
            return self._scratch.get_nowait()
        except Empty:
            curve = np.empty(len(self._market.bars.known_ms) - self._market.first_step)
            return np.zeros(_FIRST_CAPACITY, dtype=TRADE_DTYPE), curve, self._days.copy()
