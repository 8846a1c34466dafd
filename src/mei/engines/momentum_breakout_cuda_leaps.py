"""A sweep over one symbol on a card: tables of exits a cell a thread, then leaps over them a configuration a thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mei.engines.cuda_arguments import ALIGNMENT
from mei.engines.cuda_device import Card
from mei.engines.momentum_breakout_cuda_packs import Staged, places_of
from mei.engines.momentum_breakout_market import Market
from mei.engines.momentum_breakout_sweep_leaps import Candidates, OneSymbol
from mei.engines.momentum_breakout_sweep_parts import Configs, Piece, terms_of
from mei.engines.momentum_breakout_threads import Leaps
from mei.model.settings import Costs, EntryFill
from mei.rules.momentum_breakout.leaps import CASE_DTYPE
from mei.rules.momentum_breakout.records import TERMS_DTYPE, RecordArray
from mei.rules.momentum_breakout.routes import LEAVING_DTYPE, SETTING_DTYPE, Found
from mei.rules.momentum_breakout.tally import DAY_DTYPE

#: A cell of the tables: its key, and what goes with it.
_CELL_BYTES = 8 + LEAVING_DTYPE.itemsize


@dataclass(frozen=True, slots=True)
class _Group:
    """Signals, rows of the tables of exits, and which of them each configuration reads."""

    found: Found
    settings: RecordArray
    cases: RecordArray


@dataclass(frozen=True, slots=True)
class _Loaded:
    """leaps: on the card, tables filled. cases: of all walks of the pack, here."""

    leaps: Leaps
    cases: RecordArray


class LeapsOnCard(OneSymbol):
    """`CardStages` of a market of one symbol."""

    def __init__(
        self, market: Market, balance_usd: float, costs: Costs, entry_fill: EntryFill, card: Card
    ) -> None:
        super().__init__(market, balance_usd, costs, entry_fill)
        self._card = card
        run = self._run
        # Nobody notes moves there: threads that search a level side by side do not wait for each other.
        none = np.zeros((0, len(market.close)), dtype=np.int32)
        track = run.track._replace(
            prices=card.upload(run.track.prices),
            lows=card.upload(run.track.lows),
            highs=card.upload(run.track.highs),
            starts=card.upload(run.track.starts),
            falls_by=card.upload(none),
            rises_by=card.upload(none),
        )
        closes = run.closes._replace(
            places=card.upload(run.closes.places), blocks=card.upload(run.closes.blocks)
        )
        self._run_there = run._replace(track=track, closes=closes, days=card.upload(run.days))
        self.walk_bytes = (
            len(run.days) * DAY_DTYPE.itemsize + CASE_DTYPE.itemsize + TERMS_DTYPE.itemsize
        )

    def staged(self, base: Candidates, piece: Piece, configs: Configs, room: int) -> list[Staged]:
        """As `CardStages` says."""
        found, n_long, n_short = self.signals_of(base, piece)
        own_bytes = sum(one.nbytes + ALIGNMENT for one in found) + 4 * len(found.signals)
        parts: list[Staged] = []
        waiting = [piece.numbers]
        while waiting:
            numbers = waiting.pop()
            own = {name: column[numbers] for name, column in configs.items()}
            settings, cases = self.tables(own, len(numbers))
            reads = np.concatenate([cases[name] for name in ("stop", "target", "plan")])
            settings["is_whole"] = np.bincount(reads, minlength=len(settings)) > 1
            part = Staged(
                numbers,
                n_long,
                n_short,
                _Group(found, settings, cases),
                own_bytes + settings.nbytes,
                len(settings),
                len(found.signals),
                _CELL_BYTES,
            )
            if part.n_bytes > room and len(numbers) > 1:
                half = len(numbers) // 2
                waiting += [numbers[half:], numbers[:half]]
            else:
                parts.append(part)
        return parts

    def load(self, pack: Sequence[Staged]) -> _Loaded:
        """As `CardStages` says; the tables of exits are filled there."""
        # Imports numba-cuda, which a sweep on the CPU can do without.
        from mei.engines.cuda_momentum_walk import exits_kernel

        groups: list[_Group] = [one.content for one in pack]
        lengths = [len(group.found.signals) for group in groups]
        n_rows = [len(group.settings) for group in groups]
        settings = np.zeros((len(pack), max(n_rows)), dtype=SETTING_DTYPE)
        for number, group in enumerate(groups):
            settings[number, : n_rows[number]] = group.settings
        shape = (max(n_rows), sum(lengths))
        upload, run = self._card.upload, self._run_there
        leaps = Leaps(
            run.track,
            run.closes,
            run.days,
            run.first_bar,
            run.cash_usd,
            signals=upload(np.concatenate([group.found.signals for group in groups])),
            group_of=upload(np.repeat(np.arange(len(pack), dtype=np.int32), lengths)),
            first_from=upload(np.stack([group.found.first_from for group in groups])),
            settings=upload(settings),
            places=upload(places_of(lengths, n_rows)),
            keys=self._card.zeros(shape, np.dtype(np.int64)),
            leavings=self._card.zeros(shape, LEAVING_DTYPE),
        )
        n_cells = shape[0] * shape[1]
        if n_cells:
            self._card.run(exits_kernel, (leaps,), n_cells)
        return _Loaded(leaps, np.concatenate([group.cases for group in groups]))

    def scratch(self, n_walks: int) -> RecordArray:
        """Days of each walk."""
        return self._card.zeros((n_walks, len(self._run.days)), DAY_DTYPE)

    def walk(
        self,
        loaded: _Loaded,
        some: slice,
        group_of: RecordArray,
        own: Configs,
        scratch: RecordArray,
        tallies: RecordArray,
        groups: RecordArray,
    ) -> None:
        """As `CardStages` says."""
        from mei.engines.cuda_momentum_walk import leaps_kernel

        n_walks = some.stop - some.start
        terms = terms_of(own, n_walks, self._costs, self._entry_fill)
        upload = self._card.upload
        arguments = (
            loaded.leaps,
            group_of,
            upload(loaded.cases[some]),
            upload(terms),
            scratch,
            tallies,
            groups,
        )
        self._card.run(leaps_kernel, arguments, n_walks)
