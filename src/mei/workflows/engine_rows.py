"""Rows of a sweep whatever the strategy: what their numbers of a report have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from mei.metrics.replay import Group
from mei.model.bars import FloatArray, IntArray


class RowEngine(Protocol):
    """An engine that runs configurations. Rows hold a `tally` with final_balance, sharpe and trades, and `groups`."""

    @property
    def balance_usd(self) -> float:
        """What every run starts with."""

    @property
    def row_dtype(self) -> np.dtype[Any]:
        """One configuration's result."""

    def run(self, columns: Mapping[str, FloatArray], n: int) -> Any:
        """As `SweepEngine.run`."""


class EngineRows:
    """A SweepEngine over an engine, but for `numbers`, which each strategy words itself."""

    def __init__(self, engine: RowEngine) -> None:
        self._engine = engine

    @property
    def row_dtype(self) -> np.dtype[Any]:
        """As the engine has it."""
        return self._engine.row_dtype

    def run(self, columns: Mapping[str, FloatArray], n: int) -> Any:
        """As the engine does."""
        return self._engine.run(columns, n)

    def total_pnl_usd(self, rows: Any) -> FloatArray:
        """Final less initial balance of each row."""
        return np.asarray(rows["tally"]["final_balance"] - self._engine.balance_usd)

    def sharpe_ratios(self, rows: Any) -> FloatArray:
        """Annualised, of each row."""
        return np.asarray(rows["tally"]["sharpe"])

    def total_trades(self, rows: Any) -> IntArray:
        """Closed trades of each row."""
        return np.asarray(rows["tally"]["trades"])


def groups_of(row: Any, first: int, words: Sequence[str]) -> dict[str, Group]:
    """Word -> sums, of the groups of a row from `first` on, one for each word; without those that are empty."""
    found = zip(words, row["groups"][first : first + len(words)].tolist(), strict=True)
    return {word: Group(*counted) for word, counted in found if counted[0]}


def counted(tally: Any, count: str, money: str) -> Group:
    """How many and how much, of two fields of a tally."""
    return Group(int(tally[count]), 0, float(tally[money]))
