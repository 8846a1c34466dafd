"""A sweep of Mei Alpha on a card: stages 1 and 2 here, each walk a thread there; rows as those of `Sweep`, bit for bit.

The market goes to the card's memory once. Groups (configurations with the same stages 1 and 2) go there in packs,
so that a spec with many groups of few configurations still fills the card; within a pack, walks run in batches of as
many as the card's free memory holds the state of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from mei.engines.cuda_arguments import ALIGNMENT, aligned
from mei.engines.cuda_device import Card
from mei.engines.mei_alpha import SymbolConfigs
from mei.engines.mei_alpha_settings import Columns, SweptSettings
from mei.engines.mei_alpha_sweep import (
    GroupLayout,
    Staged,
    Sweep,
    reads_stages,
)
from mei.model.bars import IntArray
from mei.model.errors import ConfigError
from mei.model.replay import ReplayInputs
from mei.model.semantics import Semantics
from mei.rules.mei_alpha.tally import GROUP_DTYPE, TALLY_DTYPE
from mei.rules.mei_alpha.world import State
from mei.rules.mei_alpha.worlds import PLACE_DTYPE, Worlds

#: Share of the free memory that states of walks may take; worlds of one pack take another such share.
_STATES_SHARE, _WORLDS_SHARE = 0.6, 0.3
#: Walks a batch has at most: beyond this a card is full several times over.
_MOST_WALKS = 1 << 17
#: Trade records a walk has room for at first; those that need more run again.
_FIRST_LOG = 2048


@dataclass(frozen=True, slots=True)
class _Pack:
    """Groups that go to the card together. members: numbers of each group's configurations."""

    members: list[IntArray]
    staged: list[Staged]

    @property
    def n_configs(self) -> int:
        return sum(map(len, self.members))


class CudaSweep(Sweep):
    """As `Sweep`, the walks on a card. n_threads: for stages 1 and 2, which run here."""

    def __init__(
        self,
        inputs: ReplayInputs,
        base: SymbolConfigs,
        semantics: Semantics,
        layout: Callable[[int], GroupLayout],
        n_threads: int,
        card: Card,
        first_log: int = _FIRST_LOG,
        most_walks: int = _MOST_WALKS,
    ) -> None:
        """Raises ConfigError for an init-state, DataError when there is no bar.

        first_log: trade records a walk has room for at first; those that need more run again. most_walks: of a batch,
        however much memory there is.
        """
        super().__init__(inputs, base, semantics, layout, n_threads)
        self._card = card
        self._first_log = first_log
        self._most_walks = most_walks
        market = self.market
        self._market = {
            name: card.upload(getattr(market, name))
            for name in ("main", "exits", "entries", "funding", "run")
        }
        self._grouping = self.layout.grouping._replace(
            category_of=card.upload(self.layout.grouping.category_of),
            code_of=card.upload(self.layout.grouping.code_of),
        )

    def run(self, columns: Columns, n: int) -> Any:
        """As `Sweep` has it. Raises ConfigError when the card cannot hold one configuration's state."""
        settings = self.checked(columns, n)
        rows = np.zeros(n, dtype=self.row_dtype)
        with ThreadPoolExecutor(self._n_threads) as pool:
            for pack in self._packs(settings, pool):
                order = np.concatenate(pack.members)
                tallies, groups = self._walked(pack, self.risks_of(settings, order))
                first = 0
                for members, staged in zip(pack.members, pack.staged, strict=True):
                    end = first + len(members)
                    rows[members] = self.rows_of(staged, tallies[first:end], groups[first:end])
                    first = end
        return rows

    def state_bytes(self, n_log: int) -> int:
        """Memory of one walk: its state, its tally, its groups, its risk records."""
        arrays = [*self.scratch(n_log), self._risks]
        state = sum(int(one.size) * aligned(one.dtype).itemsize for one in arrays)
        return state + TALLY_DTYPE.itemsize + self.layout.width * GROUP_DTYPE.itemsize

    def _packs(self, settings: SweptSettings, pool: ThreadPoolExecutor) -> Iterator[_Pack]:
        """Groups in packs of about a batch, as far as their worlds fit into the card's memory."""
        groups = settings.alike(reads_stages)
        room = int(self._card.free_bytes() * _WORLDS_SHARE)
        pack, used = _Pack([], []), 0
        # A few ahead: staged worlds are large, and threads share their making.
        for first in range(0, len(groups), self._n_threads):
            some = groups[first : first + self._n_threads]
            stages = pool.map(lambda members: self.staged(settings.of(members[0])), some)
            for members, staged in zip(some, stages, strict=True):
                size = _world_bytes(staged)
                if pack.members and (used + size > room or pack.n_configs >= self._most_walks):
                    yield pack
                    pack, used = _Pack([], []), 0
                pack.members.append(members)
                pack.staged.append(staged)
                used += size
        if pack.members:
            yield pack

    def _walked(self, pack: _Pack, risks: Any) -> tuple[Any, Any]:
        """Tallies (n,) and groups (n, width) of a pack's configurations, in its order."""
        worlds = self._worlds(pack)
        world_of = np.repeat(np.arange(len(pack.members)), [len(one) for one in pack.members])
        tallies = np.zeros(len(risks), dtype=TALLY_DTYPE)
        groups = np.zeros((len(risks), self.layout.width), dtype=GROUP_DTYPE)
        left, n_log = np.arange(len(risks)), self._first_log
        while len(left):
            size = self._batch_size(n_log, len(left))
            states = self._states(n_log, size)
            for first in range(0, len(left), size):
                some = left[first : first + size]
                tallies[some], groups[some] = self._batch(
                    worlds, world_of[some], risks[some], states
                )
            left = left[tallies["n_records"][left] > n_log]
            n_log = int(np.max(tallies["n_records"]))
        return tallies, groups

    def _batch(self, worlds: Worlds, world_of: Any, risks: Any, states: State) -> tuple[Any, Any]:
        # Imports numba-cuda, which a sweep on the CPU can do without.
        from mei.engines.cuda_walk import walk_kernel

        card, n = self._card, len(world_of)
        tallies = card.zeros((n,), TALLY_DTYPE)
        groups = card.zeros((n, self.layout.width), GROUP_DTYPE)
        arguments = (
            worlds,
            card.upload(world_of),
            card.upload(risks),
            self.balance_usd,
            int(self.market.first_walked),
            states,
            self._grouping,
            tallies,
            groups,
        )
        card.run(walk_kernel, arguments, n)
        return card.download(tallies, TALLY_DTYPE), card.download(groups, GROUP_DTYPE)

    def _batch_size(self, n_log: int, n_wanted: int) -> int:
        """Walks whose states fit into the card's free memory at once."""
        free = self._card.free_bytes()
        each = self.state_bytes(n_log)
        size = min(n_wanted, self._most_walks, int(free * _STATES_SHARE) // each)
        if size == 0:
            raise ConfigError(
                f"a walk's state must fit into the free memory of {self._card.name}, needs {each / 2**20:.1f} MiB of "
                f"{free / 2**20:.1f} MiB: sweep a shorter period or fewer symbols, or use --device cpu"
            )
        return size

    def _states(self, n_log: int, size: int) -> State:
        """States of a batch, with an axis of walks in front; every walk clears its own first."""
        arrays = (self._card.zeros((size, *one.shape), one.dtype) for one in self.scratch(n_log))
        return State(*arrays)

    def _worlds(self, pack: _Pack) -> Worlds:
        worlds = [staged.world for staged in pack.staged]
        numbers: dict[int, int] = {}
        for world in worlds:
            numbers.setdefault(id(world.indicators), len(numbers))
        distinct = {id(world.indicators): world.indicators for world in worlds}
        places = np.zeros(len(worlds), dtype=PLACE_DTYPE)
        places["indicators"] = [numbers[id(world.indicators)] for world in worlds]
        for kind in ("candidate", "tick"):
            ends = np.cumsum([len(getattr(world, f"{kind}s")) for world in worlds])
            places[f"end_{kind}"] = ends
            places[f"first_{kind}"][1:] = ends[:-1]
        upload = self._card.upload
        return Worlds(
            **self._market,
            indicators=upload(np.stack(list(distinct.values()))),
            symbols=upload(np.stack([world.symbols for world in worlds])),
            steps=upload(np.stack([world.steps for world in worlds])),
            candidates=upload(np.concatenate([world.candidates for world in worlds])),
            ticks=upload(np.concatenate([world.ticks for world in worlds])),
            places=upload(places),
        )


def _world_bytes(staged: Staged) -> int:
    """Memory of what is a group's own, indicators included (they may be shared)."""
    world = staged.world
    own = (world.indicators, world.symbols, world.steps, world.candidates, world.ticks)
    return sum(prod(one.shape) * aligned(one.dtype).itemsize + ALIGNMENT for one in own)
