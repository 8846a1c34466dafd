"""Candles and funding of many symbols as flat columns, symbol after symbol."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from mei.model.bars import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Candles:
    """Bars of one interval.

    symbols: ascending by the bytes of their UTF-8 names. Rows of symbol number s: offsets[s] to offsets[s + 1] - 1,
    strictly ascending in open_ms (epoch ms UTC). Prices in quote per base, volume in base units. interval_ms is 0 when
    the label is no length of time (only reference semantics can do without one).
    """

    interval: str
    interval_ms: int
    symbols: tuple[str, ...]
    offsets: IntArray
    open_ms: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray

    @property
    def n_rows(self) -> int:
        """Bars of all symbols together."""
        return int(self.offsets[-1]) if len(self.offsets) else 0

    def rows_of(self, symbol: str) -> slice:
        """Where the bars of `symbol` lie; an empty slice when there are none."""
        if symbol not in self.symbols:
            return slice(0, 0)
        number = self.symbols.index(symbol)
        return slice(int(self.offsets[number]), int(self.offsets[number + 1]))

    def restricted_to(self, symbols: Iterable[str]) -> Candles:
        """Only the bars of `symbols`; names that are not here are left out."""
        wanted = set(symbols)
        kept = [number for number, name in enumerate(self.symbols) if name in wanted]
        rows = [np.arange(self.offsets[number], self.offsets[number + 1]) for number in kept]
        take = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
        return Candles(
            self.interval,
            self.interval_ms,
            tuple(self.symbols[number] for number in kept),
            offsets_of([len(part) for part in rows]),
            *(column[take] for column in self.columns()),
        )

    def columns(
        self,
    ) -> tuple[IntArray, FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
        """open_ms, open, high, low, close, volume."""
        return self.open_ms, self.open, self.high, self.low, self.close, self.volume


@dataclass(frozen=True, slots=True)
class FundingRates:
    """Funding rates as fractions of notional; layout as in Candles, ascending in time_ms. Longs pay positive rates."""

    symbols: tuple[str, ...]
    offsets: IntArray
    time_ms: IntArray
    rate: FloatArray

    def restricted_to(self, symbols: Iterable[str]) -> FundingRates:
        """Only the rates of `symbols`."""
        wanted = set(symbols)
        kept = [number for number, name in enumerate(self.symbols) if name in wanted]
        rows = [np.arange(self.offsets[number], self.offsets[number + 1]) for number in kept]
        take = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
        names = tuple(self.symbols[number] for number in kept)
        return FundingRates(
            names, offsets_of([len(part) for part in rows]), self.time_ms[take], self.rate[take]
        )


def offsets_of(lengths: list[int]) -> IntArray:
    """Where each symbol's rows start, and the total: shape (n_symbols + 1,), int64."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    offsets[1:] = np.cumsum(np.asarray(lengths, dtype=np.int64))
    return offsets
