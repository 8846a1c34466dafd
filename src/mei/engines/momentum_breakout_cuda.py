"""A sweep of momentum_breakout on a card: windows and signals here, what follows from them there.

Rows are those of `Sweep`, bit for bit. The market goes to the card's memory once; groups (configurations with the same
signals) go there in packs, so that a spec with many groups of few configurations fills the card, too; within a pack,
walks run in batches of as many as the card's free memory holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np

from mei.engines.cuda_device import Card
from mei.engines.momentum_breakout_cuda_leaps import LeapsOnCard
from mei.engines.momentum_breakout_cuda_packs import CardStages, Staged, packs_of
from mei.engines.momentum_breakout_cuda_portfolio import PortfolioOnCard
from mei.engines.momentum_breakout_market import Market
from mei.engines.momentum_breakout_sweep import Sweep, write_rows
from mei.engines.momentum_breakout_sweep_parts import (
    Configs,
    Piece,
    configs_of,
    pieces_of,
    waves,
)
from mei.model.bars import FloatArray
from mei.model.errors import ConfigError
from mei.model.replay import ReplayInputs
from mei.model.settings import Costs, EntryFill
from mei.rules.momentum_breakout.tally import FIRST_SYMBOL, GROUP_DTYPE, TALLY_DTYPE

#: Share of the free memory that walks of a batch may take; what one pack brings takes another such share.
_WALKS_SHARE, _PACK_SHARE = 0.4, 0.3
#: Walks a batch has at most: beyond this a card is full several times over.
_MOST_WALKS = 1 << 17
#: Bytes of signals that wait here for a pack to be full.
_MOST_WAITING = 2 << 30


class CudaSweep(Sweep):
    """As `Sweep`, the walks on a card. n_threads: for windows and signals, which are found here."""

    _stages: CardStages

    def __init__(
        self,
        inputs: ReplayInputs,
        params: Mapping[str, Any],
        costs: Costs,
        entry_fill: EntryFill,
        n_threads: int,
        card: Card,
        most_walks: int = _MOST_WALKS,
    ) -> None:
        """As `Sweep` has it. most_walks: of a batch, however much memory there is."""
        self._card = card
        self._most_walks = most_walks
        super().__init__(inputs, params, costs, entry_fill, n_threads)

    def _one_symbol(self, market: Market, costs: Costs, entry_fill: EntryFill) -> LeapsOnCard:
        return LeapsOnCard(market, self.balance_usd, costs, entry_fill, self._card)

    def _portfolio(
        self, market: Market, inputs: ReplayInputs, costs: Costs, entry_fill: EntryFill
    ) -> PortfolioOnCard:
        return PortfolioOnCard(market, inputs, self._base, costs, entry_fill, self._card)

    def run(self, columns: Mapping[str, FloatArray], n: int) -> Any:
        """As `Sweep` has it. Raises ConfigError when the card cannot hold what one configuration needs."""
        configs = configs_of(columns, n, self._base)
        rows = np.zeros(n, dtype=self.row_dtype)
        pieces = groups_of(pieces_of(configs, self._base["signal"], n, 1))
        room = int(self._card.free_bytes() * _PACK_SHARE)
        with ThreadPoolExecutor(self._n_threads) as pool:
            staged = self._staged(pieces, configs, room, pool)
            for pack in packs_of(staged, room, self._most_walks, _MOST_WAITING):
                tallies, groups = self._walked(pack, configs)
                first = 0
                for one in pack:
                    end = first + len(one.numbers)
                    found = tallies[first:end], groups[first:end], one.n_long, one.n_short
                    write_rows(rows, one.numbers, *found)
                    first = end
        return rows

    def _staged(
        self, pieces: Sequence[Piece], configs: Configs, room: int, pool: Executor
    ) -> Iterator[Staged]:
        """Groups with all that they take to the card, a few ahead: they are large, and threads share their making."""
        for wave in waves(pieces, 2 * self._n_threads):
            bases = self._bases_of(wave, pool)
            for first in range(0, len(wave), self._n_threads):
                some = wave[first : first + self._n_threads]
                of_each = pool.map(
                    lambda piece: self._stages.staged(bases[piece.window], piece, configs, room),  # noqa: B023 — used up here
                    some,
                )
                for parts in of_each:
                    for part in parts:
                        self._check_size(part.n_bytes, room, "signals and exits")
                        yield part

    def _walked(self, pack: Sequence[Staged], configs: Configs) -> tuple[Any, Any]:
        """Tallies (n,) and groups (n, n_groups) of a pack's configurations, in its order."""
        stages, card = self._stages, self._card
        loaded = stages.load(pack)
        order = np.concatenate([one.numbers for one in pack])
        group_of = np.repeat(
            np.arange(len(pack), dtype=np.int32), [len(one.numbers) for one in pack]
        )
        n, width = len(order), FIRST_SYMBOL + len(self.names)
        each = stages.walk_bytes + TALLY_DTYPE.itemsize + width * GROUP_DTYPE.itemsize
        room = int(card.free_bytes() * _WALKS_SHARE)
        self._check_size(each, room, "state")
        size = min(n, self._most_walks, room // each)
        scratch = stages.scratch(size)
        tallies = np.zeros(n, dtype=TALLY_DTYPE)
        groups = np.zeros((n, width), dtype=GROUP_DTYPE)
        for first in range(0, n, size):
            some = slice(first, min(first + size, n))
            n_some = some.stop - first
            tally_there = card.zeros((n_some,), TALLY_DTYPE)
            groups_there = card.zeros((n_some, width), GROUP_DTYPE)
            own = {name: column[order[some]] for name, column in configs.items()}
            stages.walk(
                loaded, some, card.upload(group_of[some]), own, scratch, tally_there, groups_there
            )
            tallies[some] = card.download(tally_there, TALLY_DTYPE)
            groups[some] = card.download(groups_there, GROUP_DTYPE)
        return tallies, groups

    def _check_size(self, needed: int, room: int, what: str) -> None:
        if needed > room:
            raise ConfigError(
                f"a configuration's {what} must fit into the memory of {self._card.name} kept for them, needs "
                f"{needed / 2**20:.1f} MiB of {room / 2**20:.1f} MiB: sweep a shorter period or fewer symbols, or use "
                "--device cpu"
            )


def groups_of(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces, those with the same signals joined."""

    def signals(piece: Piece) -> tuple[Any, ...]:
        return piece.window, piece.threshold, piece.allow_short

    return [
        replace(members[0], numbers=np.concatenate([piece.numbers for piece in members]))
        for members in (list(some) for _, some in groupby(pieces, key=signals))
    ]
