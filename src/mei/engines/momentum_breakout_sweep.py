"""Many configurations of momentum_breakout over one market, each the numbers of its replay, bit for bit.

Configurations are put in the order of the stages of a replay, so those that agree on a window, or on their signals, are
taken together and share them (`Stages`): one symbol by leaps from signal to exit, several by the walk of a replay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from threading import Lock
from typing import Any

import numpy as np

from mei.engines.momentum_breakout import WindowKey, check_inputs, checked_settings
from mei.engines.momentum_breakout_market import Market, prepare
from mei.engines.momentum_breakout_sweep_leaps import OneSymbol
from mei.engines.momentum_breakout_sweep_parts import (
    Configs,
    Piece,
    Stages,
    configs_of,
    pieces_of,
    waves,
)
from mei.engines.momentum_breakout_sweep_portfolio import Portfolio
from mei.model.bars import FloatArray
from mei.model.errors import ConfigError, DataError, OutputError
from mei.model.replay import ReplayInputs
from mei.model.settings import Costs, EntryFill
from mei.rules.momentum_breakout.tally import FIRST_SYMBOL, GROUP_DTYPE, TALLY_DTYPE, WORKING

#: Bases kept for runs to come.
_KEPT_BASES = 4
_KEPT = tuple(name for name in TALLY_DTYPE.names or () if name not in WORKING)


class Sweep:
    """A market and a base configuration; columns of settings come in any order and in any number of runs."""

    def __init__(
        self,
        inputs: ReplayInputs,
        params: Mapping[str, Any],
        costs: Costs,
        entry_fill: EntryFill,
        n_threads: int,
    ) -> None:
        """Raises ConfigError for what a replay would refuse and for an init-state, DataError when there is no bar."""
        if inputs.init_state is not None:
            raise ConfigError("a sweep always starts clean: it takes no --init-state")
        if inputs.candles.n_rows == 0:
            raise DataError("a sweep needs at least one candle, the set is empty")
        self._base = checked_settings(params)
        check_inputs(inputs)
        self._n_threads = n_threads
        market = prepare(inputs, self._base["lookback"])
        bars = market.bars
        self.names = market.symbols
        self.balance_usd = float(inputs.initial_balance_usd)
        #: Bars that may trade, of all symbols together.
        self.n_bars = len(bars.close) - int(bars.starts[market.first_step])
        self._stages: Stages
        if len(self.names) == 1 and len(bars.close) > 0:
            self._stages = self._one_symbol(market, costs, entry_fill)
        else:
            self._stages = self._portfolio(market, inputs, costs, entry_fill)
        self._bases: dict[WindowKey, tuple[float, Any]] = {}
        self._lock = Lock()

    @property
    def row_dtype(self) -> np.dtype[Any]:
        """One configuration's numbers: tally, groups (as `tally.FIRST_...` places them), long and short signals."""
        return np.dtype(
            [
                ("tally", [(name, TALLY_DTYPE[name]) for name in _KEPT]),
                ("groups", GROUP_DTYPE, (FIRST_SYMBOL + len(self.names),)),
                ("buys", "<i8"),
                ("sells", "<i8"),
            ]
        )

    def run(self, columns: Mapping[str, FloatArray], n: int) -> Any:
        """Rows, (n,) of `row_dtype`, of the base with the values of every column (dotted path -> numbers) set.

        Raises ConfigError for settings that a replay would refuse, OutputError where equity is no finite number.
        """
        configs = configs_of(columns, n, self._base)
        rows = np.zeros(n, dtype=self.row_dtype)
        pieces = pieces_of(configs, self._base["signal"], n, self._n_threads)
        self._stages.expect(pieces, configs)
        with ThreadPoolExecutor(self._n_threads) as pool:
            for wave in waves(pieces, 2 * self._n_threads):
                self._run_wave(wave, configs, rows, pool)
        return rows

    def _one_symbol(self, market: Market, costs: Costs, entry_fill: EntryFill) -> OneSymbol:
        return OneSymbol(market, self.balance_usd, costs, entry_fill)

    def _portfolio(
        self, market: Market, inputs: ReplayInputs, costs: Costs, entry_fill: EntryFill
    ) -> Portfolio:
        return Portfolio(market, inputs, self._base, costs, entry_fill)

    def _run_wave(
        self, pieces: Sequence[Piece], configs: Configs, rows: Any, pool: Executor
    ) -> None:
        bases = self._bases_of(pieces, pool)

        def run(piece: Piece) -> None:
            found = self._stages.run_piece(bases[piece.window], piece, configs)
            write_rows(rows, piece.numbers, *found)

        for _ in pool.map(run, pieces):
            pass

    def _bases_of(self, pieces: Sequence[Piece], pool: Executor) -> dict[WindowKey, Any]:
        """What the pieces of each window share."""
        lowest: dict[WindowKey, float] = {}
        for piece in pieces:
            lowest[piece.window] = min(piece.threshold, lowest.get(piece.window, piece.threshold))
        return dict(zip(lowest, pool.map(self._base_of, lowest, lowest.values()), strict=True))

    def _base_of(self, window: WindowKey, threshold: float) -> Any:
        with self._lock:
            known = self._bases.pop(window, None)
            if known is not None:
                self._bases[window] = known
        if known is not None and known[0] <= threshold:
            return known[1]
        base = self._stages.base(window, threshold)
        with self._lock:
            self._bases[window] = (threshold, base)
            while len(self._bases) > _KEPT_BASES:
                del self._bases[next(iter(self._bases))]
        return base


def write_rows(
    rows: Any, numbers: Any, tallies: Any, groups: Any, n_long: int, n_short: int
) -> None:
    """Make rows number `numbers` of what configurations with the same signals came to. Raises OutputError."""
    if tallies["n_broken"].any():
        raise OutputError(
            "equity must hold finite numbers, found one that is not: check candles and order sizes"
        )
    for name in _KEPT:
        rows["tally"][name][numbers] = tallies[name]
    rows["groups"][numbers] = groups
    rows["buys"][numbers] = n_long
    rows["sells"][numbers] = n_short
