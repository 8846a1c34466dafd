"""Prices that one market is not likely to have made: jumps from a bar to the next one, and spikes of a single bar.

Two markets glued into one series (a made-up one and a real one, a token before and after it was re-denominated, two
contracts under one name) jump where they meet. A wrong price jumps there and back; in a high or a low alone, it is a
spike. How far real candles go is told in docs/concepts/data_checks.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

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

_BoolArray = npt.NDArray[np.bool_]


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


_One = TypeVar("_One", Jump, Spike)


@dataclass(frozen=True, slots=True, eq=False)
class Found(Generic[_One]):
    """Jumps, or spikes, as numbers: every bar may be one, so an object is made of those alone that are asked for.

    rows: of the bar before each, ascending; at_ms: as of the objects, epoch ms UTC; factors: as of the objects. All
    of shape (n,). make: the object of a row.
    """

    rows: IntArray
    at_ms: IntArray
    factors: FloatArray
    make: Callable[[int], _One]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[_One]:
        return map(self.make, self.rows.tolist())

    def kept(self, is_kept: _BoolArray) -> Found[_One]:
        """Those for which `is_kept`, of shape (n,), holds."""
        return Found(self.rows[is_kept], self.at_ms[is_kept], self.factors[is_kept], self.make)

    def first(self) -> _One | None:
        """The one of the earliest time; None when there is none."""
        return self.make(int(self.rows[np.argmin(self.at_ms)])) if len(self) else None

    def largest(self) -> _One | None:
        """The one of the largest factor, of several the earliest row; None when there is none."""
        return self.make(int(self.rows[np.argmax(self.factors)])) if len(self) else None

    def furthest(self, at_most: int) -> list[_One]:
        """Those of the largest factors, in order of their rows."""
        places = np.argsort(-self.factors, kind="stable")[:at_most]
        return [self.make(row) for row in np.sort(self.rows[places]).tolist()]


def price_jumps(
    open_ms: IntArray, open_px: FloatArray, close_px: FloatArray, step_ms: int
) -> Found[Jump]:
    """The jumps of series of bars of `step_ms`, of which each ascends. Prices that are not above 0 are passed over.

    From a bar to one that opens no later, as from one series to the next, there is no jump.
    """

    def jump(row: int) -> Jump:
        before_ms, at_ms = int(open_ms[row]), int(open_ms[row + 1])
        hole_ms = max(at_ms - before_ms - step_ms, 0)
        return Jump(before_ms, at_ms, float(close_px[row]), float(open_px[row + 1]), hole_ms)

    if step_ms <= 0 or len(open_ms) < 2:
        return Found(_NO_ROWS, _NO_ROWS, _NO_FACTORS, jump)
    with np.errstate(over="ignore"):
        before, after = close_px[:-1], open_px[1:]
        # Few rows get beyond this line, mostly.
        rows = np.flatnonzero((after > JUMP_FACTOR * before) | (before > JUMP_FACTOR * after))
        is_judged = _is_price(before[rows]) & _is_price(after[rows])
        rows = rows[is_judged & (open_ms[rows + 1] > open_ms[rows])]
        before, after = before[rows], after[rows]
        factors = np.maximum(before / after, after / before)
    is_jump = factors > _factors_over(open_ms[rows], open_ms[rows + 1], step_ms)
    rows = rows[is_jump]
    return Found(rows, open_ms[rows + 1], factors[is_jump], jump)


def price_spikes(
    open_ms: IntArray,
    open_px: FloatArray,
    high_px: FloatArray,
    low_px: FloatArray,
    close_px: FloatArray,
    step_ms: int,
) -> Found[Spike]:
    """The spikes of series of bars of `step_ms`, of which each ascends: of bars with a neighbour on both sides."""
    columns = (open_px, high_px, low_px, close_px)

    def spike(row: int) -> Spike:
        sides = _sides(columns, np.array([row]))
        return Spike(int(open_ms[row + 1]), float(sides.px[0]), float(sides.near_px[0]))

    if step_ms <= 0 or len(open_ms) < 3:
        return Found(_NO_ROWS, _NO_ROWS, _NO_FACTORS, spike)
    with np.errstate(over="ignore"):
        is_far = high_px > SPIKE_FACTOR * np.maximum(open_px, close_px)
        is_far |= SPIKE_FACTOR * low_px < np.minimum(open_px, close_px)
    rows = np.flatnonzero(is_far[1:-1])
    for bar in (0, 1):
        rows = rows[open_ms[rows + bar + 1] - open_ms[rows + bar] == step_ms]
    for column in columns:
        for bar in (0, 1, 2):
            rows = rows[_is_price(column[rows + bar])]
    sides = _sides(columns, rows)
    rows = rows[sides.is_out]
    return Found(rows, open_ms[rows + 1], sides.factors[sides.is_out], spike)


def jump_notes(candles: Candles, symbols: Sequence[str], to_ms: int, what: str) -> list[str]:
    """A line for the jumps and a line for the spikes of bars that close at `to_ms` (epoch ms UTC) or earlier, if any.

    symbols: those that count. what: the candles, for people. Bars before the start of a run count, too: indicators
    are made of them.
    """
    open_ms, opens, closes = candles.open_ms, candles.open, candles.close
    all_jumps = price_jumps(open_ms, opens, closes, candles.interval_ms)
    columns = (opens, candles.high, candles.low, closes)
    all_spikes = price_spikes(open_ms, *columns, candles.interval_ms)
    jumps = all_jumps.kept(_counts(all_jumps, 2, candles, symbols, to_ms))
    spikes = all_spikes.kept(_counts(all_spikes, 3, candles, symbols, to_ms))
    of_all = f"of {len(symbols)} symbols"
    notes = []
    if jumps:
        notes.append(
            f"{what} must be of one market for each symbol; {_n_symbols(jumps, candles)} {of_all} jump, {len(jumps)} "
            f"times, from a close to an open more than a factor {JUMP_FACTOR:g} away "
            f"({_first_and_largest(jumps, candles)}): check whether two markets were glued together, and import one of "
            "them alone"
        )
    if spikes:
        notes.append(
            f"{what} must have prices that were traded; {_n_symbols(spikes, candles)} {of_all} have a high or low, "
            f"{len(spikes)} in all, more than a factor {SPIKE_FACTOR:g} from all prices around it "
            f"({_first_and_largest(spikes, candles)}): check for a wrong price"
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


def count_jumps(jumps: Found[Jump]) -> JumpCount:
    """The jumps of one series, summed up."""
    return JumpCount(len(jumps), jumps.first(), jumps.largest())


class JumpTally:
    """Counts the jumps in passing blocks of which the later bar fits."""

    def __init__(self, step_ms: int, fits: Callable[[IntArray], _BoolArray]) -> None:
        """fits: whether each bar of these opens (epoch ms UTC) is one that counts."""
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
        jumps = price_jumps(bars["timestamp"], bars["open"], bars["close"], self._step_ms)
        found = count_jumps(jumps.kept(self._fits(jumps.at_ms)))
        n_before, first, largest = self.count
        both = [jump for jump in (largest, found.largest) if jump is not None]
        self.count = JumpCount(
            n_before + found.n_jumps,
            first or found.first,
            max(both, key=lambda jump: jump.factor, default=None),
        )


_NO_ROWS = np.zeros(0, dtype=np.int64)
_NO_FACTORS = np.zeros(0)


def _is_price(prices: FloatArray) -> _BoolArray:
    return (prices > 0) & (prices < math.inf)


def _factors_over(before_ms: IntArray, after_ms: IntArray, step_ms: int) -> FloatArray:
    """`_factor_over` of the hole between each two bars, of which the later one opens later."""
    # A difference that overflows is right again as unsigned.
    distances_ms = (after_ms - before_ms).view(np.uint64)
    factors = np.full(len(distances_ms), _factor_over(0))
    is_hole = distances_ms > step_ms
    # A power of numpy's is not that of Python to the last bit on every machine; holes are mostly of few lengths.
    lengths_ms, numbers = np.unique(distances_ms[is_hole], return_inverse=True)
    of_length = [_factor_over(length_ms - step_ms) for length_ms in lengths_ms.tolist()]
    factors[is_hole] = np.array(of_length, dtype=np.float64)[numbers]
    return factors


def _factor_over(hole_ms: int) -> float:
    """How far an open may lie from the close before it, with a hole of this length between them."""
    if hole_ms <= 0:
        return JUMP_FACTOR
    exponent = 1.0 + _GROWTH * math.sqrt(hole_ms / _HOUR_MS)
    return float(min(JUMP_FACTOR ** min(exponent, 100.0), _MOST_FACTOR))


class _Sides(NamedTuple):
    """The high or low of bars, whichever is further out, and the nearest price around it; is_out: it is a spike."""

    px: FloatArray
    near_px: FloatArray
    factors: FloatArray
    is_out: _BoolArray


def _sides(columns: tuple[FloatArray, ...], rows: IntArray) -> _Sides:
    """Of the bars after `rows`. columns: open, high, low, close; all of the bars and their neighbours above 0."""
    _, highs, lows, _ = columns
    open_px, high_px, low_px, close_px = (column[rows + 1] for column in columns)
    top_px = np.maximum(np.maximum(highs[rows], highs[rows + 2]), np.maximum(open_px, close_px))
    bottom_px = np.minimum(np.minimum(lows[rows], lows[rows + 2]), np.minimum(open_px, close_px))
    with np.errstate(over="ignore"):
        is_high, is_low = high_px > SPIKE_FACTOR * top_px, SPIKE_FACTOR * low_px < bottom_px
        high_factors = np.maximum(high_px / top_px, top_px / high_px)
        low_factors = np.maximum(low_px / bottom_px, bottom_px / low_px)
    is_high_told = is_high & (~is_low | (high_factors >= low_factors))
    return _Sides(
        np.where(is_high_told, high_px, low_px),
        np.where(is_high_told, top_px, bottom_px),
        np.where(is_high_told, high_factors, low_factors),
        is_high | is_low,
    )


def _counts(
    found: Found[_One], n_rows: int, candles: Candles, symbols: Sequence[str], to_ms: int
) -> _BoolArray:
    """Whether each is of `symbols` and closes at `to_ms` or earlier.

    n_rows: how many rows each is made of; those of two symbols do not count.
    """
    wanted = set(symbols)
    is_wanted = np.array([symbol in wanted for symbol in candles.symbols], dtype=np.bool_)
    numbers = _symbol_numbers(found, candles)
    is_whole = found.rows + n_rows <= candles.offsets[numbers + 1]
    return is_whole & is_wanted[numbers] & (found.at_ms + candles.interval_ms <= to_ms)


def _symbol_numbers(found: Found[_One], candles: Candles) -> IntArray:
    return np.searchsorted(candles.offsets, found.rows, "right") - 1


def _n_symbols(found: Found[_One], candles: Candles) -> int:
    return len(np.unique(_symbol_numbers(found, candles)))


def _first_and_largest(found: Found[_One], candles: Candles) -> str:
    """The one of the earliest time and the furthest one; once when it is the only one."""
    numbers = _symbol_numbers(found, candles)

    def said(place: int) -> str:
        one = found.make(int(found.rows[place]))
        return f"{candles.symbols[numbers[place]]} {one.describe()}"

    if len(found) == 1:
        return said(0)
    first, largest = int(np.argmin(found.at_ms)), int(np.argmax(found.factors))
    return f"the first is {said(first)}; the largest {said(largest)}"
