"""Whether funding rates are what a run takes them for: hourly, in ms, up to the end, under the candles' names.

Every full hour that a position is held through pays the newest rate at or before that hour, however old it is
(specification part 2, C.4). So a rate that stands for 8 hours is paid 8 times, the last one for ever, and one that is
stamped a moment after the hour only from the next hour on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mei.data.candle_check import commonest
from mei.data.candle_span import Span
from mei.data.stamps import EARLIEST_MS, LATEST_MS, length_text, time_text, unit_of
from mei.model.bars import IntArray
from mei.model.candles import FundingRates
from mei.model.errors import DataError
from mei.model.market_names import listed, meant

HOUR_MS = 3_600_000
_MINUTE_MS = 60_000


def refuse_unusable(
    path: str, extents: Mapping[str, tuple[int, int]], traded: Sequence[str]
) -> None:
    """DataError for a database in which no time is one in ms, or none of the traded symbols stands.

    extents: first and last time of every symbol of the database, as it is there.
    """
    if not extents:
        raise DataError(f"{path}: there must be funding rates, the table is empty: import them")
    for symbol, ends in extents.items():
        for stamp in ends:
            if not EARLIEST_MS <= stamp < LATEST_MS:
                unit = unit_of(stamp)
                looks = "" if unit is None else f", which is a time in {unit.name}"
                raise DataError(
                    f"{path}: time must be in epoch ms from 2009 to 2099, found {stamp} of {symbol}{looks}: convert "
                    "the column, or import the file (import-candles --funding-db reads s, ms, µs and ns)"
                )
    if not any(symbol in extents for symbol in traded):
        raise DataError(
            f"{path}: funding rates must stand under the names of the candles, {listed(list(traded))}; found "
            f"{listed(list(extents))}{_renamed(traded, extents)}: import them under the candles' names "
            "(import-candles --funding-db --symbol), or leave out --funding-db"
        )


def funding_notes(
    path: str,
    rates: FundingRates,
    extents: Mapping[str, tuple[int, int]],
    spans: Mapping[str, Span],
) -> list[str]:
    """A line for each kind of doubt about the rates of the symbols in `spans`; each should have rates in its span."""
    doubts = _Doubts()
    for symbol, span in spans.items():
        doubts.look_at(symbol, _times(rates, symbol), span)
    return list(doubts.notes(path, extents, len(spans)))


@dataclass
class _Doubts:
    """What was found of each kind: symbols, with what a line says of them."""

    without: list[str] = field(default_factory=list)
    spacings: dict[int, list[str]] = field(default_factory=dict)
    holes: list[tuple[int, str]] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)

    def look_at(self, symbol: str, times: IntArray, span: Span) -> None:
        """Take in the times of a symbol's rates, ascending, epoch ms UTC."""
        if not len(times):
            self.without.append(symbol)
            return
        first_ms, last_ms = int(times[0]), int(times[-1])
        # What is paid in the span: the rates in it, and the newest one before.
        times = times[max(int(np.searchsorted(times, span.from_ms, "right")) - 1, 0) :]
        usual_ms = self._look_between(symbol, times) if len(times) > 1 else HOUR_MS
        is_odd = times % HOUR_MS != 0
        if is_odd.any():
            self.odd.append(f"{symbol} at {time_text(int(times[np.argmax(is_odd)]))}")
        allowed_ms = max(usual_ms, HOUR_MS)
        if first_ms > span.from_ms + allowed_ms:
            self.late.append(f"{symbol} from {time_text(first_ms)}")
        if last_ms + allowed_ms < span.to_ms:
            self.stale.append(f"{symbol} to {time_text(last_ms)}")

    def _look_between(self, symbol: str, times: IntArray) -> int:
        """The usual distance of the times, ms."""
        # Exchanges stamp some ms late.
        distances = (np.diff(times) + _MINUTE_MS // 2) // _MINUTE_MS * _MINUTE_MS
        usual_ms, longest_ms = commonest(distances)[0], int(distances.max())
        if usual_ms != HOUR_MS:
            self.spacings.setdefault(usual_ms, []).append(symbol)
        elif longest_ms > HOUR_MS:
            self.holes.append((longest_ms, symbol))
        return usual_ms

    def notes(self, path: str, extents: Mapping[str, tuple[int, int]], n_all: int) -> Iterator[str]:
        """A line for each kind, for people."""
        if self.without:
            unknown = [name for name in self.without if name not in extents]
            yield (
                f"{path} must have rates of every symbol, {len(self.without)} of {n_all} have none in the window and "
                f"pay none: {listed(self.without)}{_renamed(unknown, extents)}; import them"
            )
        for usual_ms, symbols in sorted(self.spacings.items()):
            yield _spacing_note(path, usual_ms, symbols, n_all)
        if self.holes:
            longest_ms, worst = max(self.holes, key=lambda hole: hole[0])
            yield (
                f"{path} must have a rate for every hour, {len(self.holes)} of {n_all} symbols have holes "
                f"({listed([symbol for _, symbol in self.holes])}; the longest, of {worst}, from one rate to the next "
                f"{length_text(longest_ms)}): each hour of them pays the rate before; import what is missing"
            )
        if self.late:
            yield (
                f"{path} must have rates from the window's start on, those of {len(self.late)} of {n_all} symbols "
                f"begin later ({listed(self.late)}): the hours before pay nothing; import earlier rates"
            )
        if self.stale:
            yield (
                f"{path} must have rates up to the window's end, those of {len(self.stale)} of {n_all} symbols end "
                f"earlier ({listed(self.stale)}): every hour after pays the last rate again; import newer rates"
            )
        if self.odd:
            yield (
                f"{path} must have its rates at full hours, those of {len(self.odd)} of {n_all} symbols are not "
                f"({listed(self.odd)}): each is paid from the next full hour on; round the times"
            )


def _spacing_note(path: str, usual_ms: int, symbols: list[str], n_all: int) -> str:
    apart = length_text(usual_ms)
    found = (
        f"{path} must have hourly rates, as every full hour pays the newest one; those of {len(symbols)} of {n_all} "
        f"symbols are mostly {apart} apart ({listed(symbols)}): "
    )
    if usual_ms < HOUR_MS:
        return found + "all but the newest of an hour are left out; import one rate an hour"
    times = usual_ms / HOUR_MS
    return (
        found
        + f"each is paid {times:g} times; if a rate stands for {apart}, divide it by {times:g}"
    )


def _times(rates: FundingRates, symbol: str) -> IntArray:
    if symbol not in rates.symbols:
        return np.zeros(0, dtype=np.int64)
    number = rates.symbols.index(symbol)
    return rates.time_ms[rates.offsets[number] : rates.offsets[number + 1]]


def _renamed(symbols: Sequence[str], extents: Mapping[str, tuple[int, int]]) -> str:
    """The names that the database may have for some of the symbols."""
    pairs = [(symbol, meant(symbol, list(extents))) for symbol in symbols]
    found = [f"{name} for {symbol}" for symbol, name in pairs if name is not None]
    return f" (there is {listed(found)})" if found else ""
