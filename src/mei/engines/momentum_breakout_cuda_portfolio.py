"""A sweep over several symbols on a card: the walk of a replay, a configuration a thread, over shared signals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from mei.engines.cuda_arguments import ALIGNMENT, aligned
from mei.engines.cuda_device import Card
from mei.engines.momentum_breakout import SignalKey, Signals, Windows, signals
from mei.engines.momentum_breakout_cuda_packs import Staged, places_of
from mei.engines.momentum_breakout_market import Market
from mei.engines.momentum_breakout_sweep_parts import Configs, Piece, terms_of
from mei.engines.momentum_breakout_sweep_portfolio import Portfolio
from mei.engines.momentum_breakout_threads import (
    MOST_ACTIONS,
    POINT_DTYPE,
    Accounts,
    Portfolios,
)
from mei.model.replay import TRADE_DTYPE, ReplayInputs
from mei.model.settings import Costs, EntryFill
from mei.rules.momentum_breakout.records import (
    ACCOUNT_DTYPE,
    BOOK_DTYPE,
    TERMS_DTYPE,
    Bars,
    RecordArray,
)


class PortfolioOnCard(Portfolio):
    """`CardStages` of a market of several symbols, or of none."""

    def __init__(
        self,
        market: Market,
        inputs: ReplayInputs,
        settings: Mapping[str, Any],
        costs: Costs,
        entry_fill: EntryFill,
        card: Card,
    ) -> None:
        super().__init__(market, inputs, settings, costs, entry_fill)
        self._card = card
        self._bars = Bars(*(card.upload(column) for column in market.bars))
        self._books = card.upload(self._start.books)
        self._account = card.upload(self._start.account)
        self._day_ends = card.upload(self._days)
        state = sum(aligned(dtype).itemsize * prod(shape) for dtype, shape in self._shapes())
        self.walk_bytes = state + TERMS_DTYPE.itemsize

    def staged(self, base: Windows, piece: Piece, configs: Configs, room: int) -> list[Staged]:
        """As `CardStages` says; what configurations share here does not grow with their number."""
        key = SignalKey(piece.window, piece.threshold, piece.allow_short)
        found = signals(self._market, base, key)
        n_long, n_short = found.gates["buy_count"], found.gates["sell_count"]
        own_bytes = found.sides.nbytes + found.candidates.nbytes + 2 * ALIGNMENT
        return [Staged(piece.numbers, n_long, n_short, found, own_bytes)]

    def load(self, pack: Sequence[Staged]) -> Portfolios:
        """As `CardStages` says."""
        found: list[Signals] = [one.content for one in pack]
        upload = self._card.upload
        return Portfolios(
            self._bars,
            sides=upload(np.stack([one.sides for one in found])),
            candidates=upload(np.concatenate([one.candidates for one in found])),
            places=upload(places_of([len(one.candidates) for one in found], [0] * len(found))),
            first_step=self._market.first_step,
            start_books=self._books,
            start_account=self._account,
            day_ends=self._day_ends,
        )

    def _shapes(self) -> list[tuple[np.dtype[Any], tuple[int, ...]]]:
        """What one walk changes, in the order of `Accounts`."""
        n_symbols = len(self._start.books)
        return [
            (BOOK_DTYPE, (n_symbols,)),
            (ACCOUNT_DTYPE, ()),
            (TRADE_DTYPE, (MOST_ACTIONS * n_symbols,)),
            (POINT_DTYPE, (len(self._days),)),
        ]

    def scratch(self, n_walks: int) -> Accounts:
        """As `CardStages` says."""
        zeros = self._card.zeros
        return Accounts(*(zeros((n_walks, *shape), dtype) for dtype, shape in self._shapes()))

    def walk(
        self,
        loaded: Portfolios,
        some: slice,
        group_of: RecordArray,
        own: Configs,
        scratch: Accounts,
        tallies: RecordArray,
        groups: RecordArray,
    ) -> None:
        """As `CardStages` says."""
        # Imports numba-cuda, which a sweep on the CPU can do without.
        from mei.engines.cuda_momentum_walk import portfolios_kernel

        n_walks = some.stop - some.start
        terms = self._card.upload(terms_of(own, n_walks, self._costs, self._entry_fill))
        arguments = (loaded, group_of, terms, scratch, tallies, groups)
        self._card.run(portfolios_kernel, arguments, n_walks)
