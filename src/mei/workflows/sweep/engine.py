"""What a strategy brings so that it can be swept, whatever runs it: threads, a card, a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from mei.metrics.replay import ReplayNumbers
from mei.model.bars import FloatArray, IntArray

Columns = Mapping[str, FloatArray]


class SweepEngine(Protocol):
    """A market and a base configuration. Rows are fixed-size records, equal however configurations are batched."""

    @property
    def row_dtype(self) -> np.dtype[Any]:
        """One configuration's result, without Python objects; fixed for one market."""

    def run(self, columns: Columns, n: int) -> Any:
        """Rows, (n,) of `row_dtype`: row i is that of value i of every column (dotted path -> numbers as swept).

        Raises ConfigError for settings no run can be made with.
        """

    def numbers(self, row: Any) -> ReplayNumbers:
        """One row as the numbers of a report."""

    def total_pnl_usd(self, rows: Any) -> FloatArray:
        """Final less initial balance of each row, as `numbers` has it."""

    def sharpe_ratios(self, rows: Any) -> FloatArray:
        """Annualised, of each row, as `numbers` has it."""

    def total_trades(self, rows: Any) -> IntArray:
        """Closed trades of each row, as `numbers` has it."""
