"""A run that stopped: what the one that goes on from it starts with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mei.model.bars import FloatArray


@dataclass(frozen=True, slots=True)
class SymbolPast:
    """What a symbol brings along: n_bars seen, of which the last are `bars` (columns) with their `rows` of
    indicators; its newest finer bars, those that may lie in the main bar that was not over."""

    n_bars: int
    bars: dict[str, Any]
    rows: Any
    bank: FloatArray
    state: Any
    slot: Any
    windows: Mapping[str, Any]
    exits: dict[str, Any]
    entries: dict[str, Any]

    @property
    def n_before(self) -> int:
        """Bars seen before the first one kept."""
        return self.n_bars - len(self.rows)


@dataclass(frozen=True, slots=True)
class Past:
    """A run that stopped at as_of_ms; from_ms: where its window began. account: the fields of the account that go
    on. peak_usd: the highest point of its curve, None if it had none."""

    as_of_ms: int
    from_ms: int
    account: Mapping[str, Any]
    symbols: Mapping[str, SymbolPast]
    peak_usd: float | None
