"""Groups of configurations on their way to a card."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from mei.engines.momentum_breakout import WindowKey
from mei.engines.momentum_breakout_sweep_parts import Configs, Piece
from mei.engines.momentum_breakout_threads import PLACE_DTYPE
from mei.rules.momentum_breakout.records import RecordArray


@dataclass(frozen=True, slots=True)
class Staged:
    """Configurations with the same signals. numbers: which ones. content: the signals and what belongs to them.

    own_bytes: its memory on the card, beside a table of n_rows rows and n_columns columns, cell_bytes a cell, that all
    groups of a pack share: as many rows as the tallest needs, the columns of all.
    """

    numbers: Any
    n_long: int
    n_short: int
    content: Any
    own_bytes: int
    n_rows: int = 0
    n_columns: int = 0
    cell_bytes: int = 0

    @property
    def n_bytes(self) -> int:
        """Memory of a pack of nothing else."""
        return self.own_bytes + self.n_rows * self.n_columns * self.cell_bytes


class CardStages(Protocol):
    """How the configurations of one market are run on a card. walk_bytes: scratch of one walk."""

    walk_bytes: int

    def base(self, window: WindowKey, threshold: float) -> Any:
        """As `Stages` says."""

    def expect(self, pieces: Sequence[Piece], configs: Configs) -> None:
        """As `Stages` says."""

    def run_piece(self, base: Any, piece: Piece, configs: Configs) -> tuple[Any, Any, int, int]:
        """As `Stages` says, on the CPU."""

    def staged(self, base: Any, piece: Piece, configs: Configs, room: int) -> list[Staged]:
        """The piece, in parts where the whole takes more than `room` bytes there."""

    def load(self, pack: Sequence[Staged]) -> Any:
        """What the walks of a pack read, on the card."""

    def scratch(self, n_walks: int) -> Any:
        """What so many walks write to beside their results; every walk clears its own first."""

    def walk(
        self,
        loaded: Any,
        some: slice,
        group_of: Any,
        own: Configs,
        scratch: Any,
        tallies: Any,
        groups: Any,
    ) -> None:
        """Run walks number `some` of a pack; own: their settings, group_of: their groups, on the card."""


def packs_of(
    staged: Iterable[Staged], room: int, most_walks: int, most_own_bytes: int
) -> Iterator[list[Staged]]:
    """The groups in packs of about `most_walks` configurations, as far as `room` bytes there hold them.

    most_own_bytes: of what is the groups' own, which has to lie here, too, until a pack is full.
    """
    pack: list[Staged] = []
    own_bytes, n_rows, n_columns, n_walks = 0, 0, 0, 0
    for one in staged:
        cells = max(n_rows, one.n_rows) * (n_columns + one.n_columns)
        needed = own_bytes + one.own_bytes + cells * one.cell_bytes
        is_full = n_walks >= most_walks or own_bytes + one.own_bytes > most_own_bytes
        if pack and (is_full or needed > room):
            yield pack
            pack, own_bytes, n_rows, n_columns, n_walks = [], 0, 0, 0, 0
        pack.append(one)
        own_bytes += one.own_bytes
        n_rows = max(n_rows, one.n_rows)
        n_columns += one.n_columns
        n_walks += len(one.numbers)
    if pack:
        yield pack


def places_of(lengths: Sequence[int], n_rows: Sequence[int]) -> RecordArray:
    """Where the parts of groups lie that follow one another: PLACE_DTYPE, (n_groups,)."""
    places = np.zeros(len(lengths), dtype=PLACE_DTYPE)
    ends = np.cumsum(lengths)
    places["end"] = ends
    places["first"][1:] = ends[:-1]
    places["n_rows"] = n_rows
    return places
