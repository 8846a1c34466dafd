"""Prices that one market is not likely to have made: jumps from a bar to the next one, and spikes of a single bar.

Two markets glued into one series (a made-up one and a real one, a token before and after it was re-denominated, two
contracts under one name) jump where they meet. A wrong price jumps there and back; in a high or a low alone, it is a
spike. How far real candles go is told in docs/concepts/data_checks.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mei.data.stamps import length_text, time_text
from mei.model.bars import BarArray, FloatArray, IntArray
from mei.model.candles import Candles

#: An open further than this factor from the close before it is a jump. Of 1,094,510 real pairs the furthest was 1.035.
JUMP_FACTOR = 1.5
#: Over a hole prices move on: the exponent of the factor grows by this for the square root of each missing hour ...
_GROWTH = 0.25
#: ... up to this factor, which real prices took more than two months for.
_MOST_FACTOR = 50.0
#: A high or low further than this factor from its own bar's open and close and from both neighbours is a spike.
SPIKE_FACTOR = 3.0

_HOUR_MS = 3_600_000


class Jump(NamedTuple):
    """From the close of the bar that opens at `before_ms` to the open of the next, at `at_ms`: what lies between."""

    before_ms: int
    at_ms: int
    close_px: float
    open_px: float
    hole_ms: int

    @property
    def factor(self) -> float:
        """How many times the lower price the higher one is."""
        return max(self.open_px / self.close_px, self.close_px / self.open_px)

    def describe(self) -> str:
        """When and from which price to which: "2025-06-01T04:00:00Z from 2000 to 20"."""
        hole = f" after a hole of {length_text(self.hole_ms)}" if self.hole_ms else ""
        return f"{time_text(self.at_ms)} from {self.close_px:.8g} to {self.open_px:.8g}{hole}"


class Spike(NamedTuple):
    """The high or low `px` of the bar that opens at `at_ms`; `near_px` is the nearest price around it."""

    at_ms: int
    px: float
    near_px: float

    @property
    def factor(self) -> float:
        """How many times the lower price the higher one is."""
        return max(self.px / self.near_px, self.near_px / self.px)

    def describe(self) -> str:
        """When, and both prices: "2025-06-01T04:00:00Z at 20, around it 2000"."""
        return f"{time_text(self.at_ms)} at {self.px:.8g}, around it {self.near_px:.8g}"


def price_jumps(
    open_ms: IntArray, open_px: FloatArray, close_px: FloatArray, step_ms: int
) -> list[Jump]:
    """The jumps of one series of bars of `step_ms`, ascending. Prices that are not above 0 are passed over."""
    return [
        _jump(open_ms, open_px, close_px, step_ms, row)
        for row in _jump_rows(open_ms, open_px, close_px, step_ms)
    ]


def price_spikes(
    open_ms: IntArray,
    open_px: FloatArray,
    high_px: FloatArray,
    low_px: FloatArray,
    close_px: FloatArray,
    step_ms: int,
) -> list[Spike]:
    """The spikes of one series of bars of `step_ms`, ascending: of bars with a neighbour on both sides alone."""
    columns = (open_px, high_px, low_px, close_px)
    return [spike for _, spike in _spikes(open_ms, columns, step_ms)]


def jump_notes(candles: Candles, symbols: Sequence[str], to_ms: int, what: str) -> list[str]:
    """A line for the jumps and a line for the spikes of bars that close at `to_ms` (epoch ms UTC) or earlier, if any.

    symbols: those that count. what: the candles, for people. Bars before the start of a run count, too: indicators
    are made of them.
    """
    step_ms, open_ms = candles.interval_ms, candles.open_ms
    opens, closes = candles.open, candles.close
    rows = _jump_rows(open_ms, opens, closes, step_ms)
    all_jumps = [(row, _jump(open_ms, opens, closes, step_ms, row)) for row in rows]
    all_spikes = _spikes(open_ms, (opens, candles.high, candles.low, closes), step_ms)
    jumps = _named(all_jumps, 2, candles, symbols, to_ms)
    spikes = _named(all_spikes, 3, candles, symbols, to_ms)
    of_all = f"of {len(symbols)} symbols"
    notes = []
    if jumps:
        notes.append(
            f"{what} must be of one market for each symbol; {_n_symbols(jumps)} {of_all} jump, {len(jumps)} times, "
            f"from a close to an open more than a factor {JUMP_FACTOR:g} away ({_first_and_largest(jumps)}): check "
            "whether two markets were glued together, and import one of them alone"
        )
    if spikes:
        notes.append(
            f"{what} must have prices that were traded; {_n_symbols(spikes)} {of_all} have a high or low, "
            f"{len(spikes)} in all, more than a factor {SPIKE_FACTOR:g} from all prices around it "
            f"({_first_and_largest(spikes)}): check for a wrong price"
        )
    return notes


class JumpCount(NamedTuple):
    """How many jumps a series has, the first one and the largest one (None = there is none)."""

    n_jumps: int
    first: Jump | None
    largest: Jump | None

    def describe(self) -> str:
        """A note for people; empty when there is none."""
        if self.first is None or self.largest is None:
            return ""
        if self.n_jumps == 1:
            found = f"1 price jump: {self.first.describe()}"
        else:
            found = f"{self.n_jumps} price jumps, the first {self.first.describe()}"
            if self.largest != self.first:
                found += f", the largest {self.largest.describe()}"
        return f"{found} (check whether two markets were glued together)"


def count_jumps(jumps: Sequence[Jump]) -> JumpCount:
    """Ascending jumps, summed up."""
    return JumpCount(
        len(jumps),
        jumps[0] if jumps else None,
        max(jumps, key=lambda jump: jump.factor, default=None),
    )


class JumpTally:
    """Counts the jumps in passing blocks of which the later bar fits."""

    def __init__(self, step_ms: int, fits: Callable[[int], bool]) -> None:
        """fits: whether a bar of this open (epoch ms UTC) is one that counts."""
        self.count = JumpCount(0, None, None)
        self._step_ms = step_ms
        self._fits = fits

    def watch(self, blocks: Iterable[BarArray]) -> Iterator[BarArray]:
        """Give the blocks on unchanged."""
        last: BarArray | None = None
        for bars in blocks:
            if last is not None:
                self._take(np.concatenate((last, bars[:1])))
            self._take(bars)
            last = bars[-1:].copy()
            yield bars

    def _take(self, bars: BarArray) -> None:
        for jump in price_jumps(bars["timestamp"], bars["open"], bars["close"], self._step_ms):
            if self._fits(jump.at_ms):
                n_before, first, largest = self.count
                is_largest = largest is None or jump.factor > largest.factor
                self.count = JumpCount(n_before + 1, first or jump, jump if is_largest else largest)


_Found = Jump | Spike


def _jump_rows(
    open_ms: IntArray, open_px: FloatArray, close_px: FloatArray, step_ms: int
) -> list[int]:
    """Rows of the earlier bars of jumps. Bars that do not ascend, as from one series to the next, are none."""
    if step_ms <= 0 or len(open_ms) < 2:
        return []
    before, after = close_px[:-1], open_px[1:]
    # Few rows get beyond this line: the rest is done one by one.
    with np.errstate(over="ignore"):
        is_far = (after > JUMP_FACTOR * before) | (before > JUMP_FACTOR * after)
    found = []
    for row in np.flatnonzero(is_far).tolist():
        from_px, to_px = float(before[row]), float(after[row])
        distance_ms = int(open_ms[row + 1]) - int(open_ms[row])
        if not (0 < from_px < math.inf and 0 < to_px < math.inf and distance_ms > 0):
            continue
        if max(from_px / to_px, to_px / from_px) > _factor_over(distance_ms - step_ms):
            found.append(row)
    return found


def _factor_over(hole_ms: int) -> float:
    """How far an open may lie from the close before it, with a hole of this length between them."""
    if hole_ms <= 0:
        return JUMP_FACTOR
    exponent = 1.0 + _GROWTH * math.sqrt(hole_ms / _HOUR_MS)
    return float(min(JUMP_FACTOR ** min(exponent, 100.0), _MOST_FACTOR))


def _jump(
    open_ms: IntArray, open_px: FloatArray, close_px: FloatArray, step_ms: int, row: int
) -> Jump:
    before_ms, at_ms = int(open_ms[row]), int(open_ms[row + 1])
    hole_ms = max(at_ms - before_ms - step_ms, 0)
    return Jump(before_ms, at_ms, float(close_px[row]), float(open_px[row + 1]), hole_ms)


def _spikes(
    open_ms: IntArray, columns: tuple[FloatArray, ...], step_ms: int
) -> Iterator[tuple[int, Spike]]:
    """The row before each spike, and the spike. columns: open, high, low, close."""
    if step_ms <= 0 or len(open_ms) < 3:
        return
    opens, highs, lows, closes = columns
    with np.errstate(over="ignore"):
        is_far = highs > SPIKE_FACTOR * np.maximum(opens, closes)
        is_far |= SPIKE_FACTOR * lows < np.minimum(opens, closes)
    for row in np.flatnonzero(is_far[1:-1]).tolist():
        around = slice(row, row + 3)
        if (np.diff(open_ms[around]) != step_ms).any():
            continue
        prices = [float(column[at]) for column in columns for at in (row, row + 1, row + 2)]
        if not all(0 < price < math.inf for price in prices):
            continue
        at = row + 1
        top_px = float(max(highs[row], highs[row + 2], opens[at], closes[at]))
        bottom_px = float(min(lows[row], lows[row + 2], opens[at], closes[at]))
        at_ms, high_px, low_px = int(open_ms[at]), float(highs[at]), float(lows[at])
        sides = (Spike(at_ms, high_px, top_px), Spike(at_ms, low_px, bottom_px))
        is_out = (high_px > SPIKE_FACTOR * top_px, SPIKE_FACTOR * low_px < bottom_px)
        spikes = [side for side, out in zip(sides, is_out, strict=True) if out]
        if spikes:
            yield row, max(spikes, key=lambda spike: spike.factor)


def _named(
    found: Iterable[tuple[int, _Found]],
    n_rows: int,
    candles: Candles,
    symbols: Sequence[str],
    to_ms: int,
) -> list[tuple[str, _Found]]:
    """With their symbols, those of `symbols` that close at `to_ms` or earlier.

    found: each with the first of the `n_rows` rows that it is made of; those of two symbols are left out.
    """
    counted = set(symbols)
    kept = []
    for row, one in found:
        number = int(np.searchsorted(candles.offsets, row, "right")) - 1
        is_whole = row + n_rows <= candles.offsets[number + 1]
        symbol = candles.symbols[number]
        if is_whole and symbol in counted and one.at_ms + candles.interval_ms <= to_ms:
            kept.append((symbol, one))
    return kept


def _n_symbols(found: Sequence[tuple[str, _Found]]) -> int:
    return len({symbol for symbol, _ in found})


def _first_and_largest(found: Sequence[tuple[str, _Found]]) -> str:
    """The one of the earliest time and the furthest one; once when it is the only one."""
    first = min(found, key=lambda pair: pair[1].at_ms)
    largest = max(found, key=lambda pair: pair[1].factor)
    said = f"{first[0]} {first[1].describe()}"
    if len(found) == 1:
        return said
    return f"the first is {said}; the largest {largest[0]} {largest[1].describe()}"
