"""One answer with candles, looked at: what is a candle of the window, what is none, what comes later."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mei.data.stamps import grid_offset_ms, time_text
from mei.model.bars import BAR_DTYPE, BarArray

#: Impossible candles named in a line.
_MOST_NAMED = 3
_Bar = tuple[int, float, float, float, float, float]


class Slots(NamedTuple):
    """Opens on a grid of `step_ms`, both ends included, epoch ms UTC."""

    first_ms: int
    last_ms: int
    step_ms: int


@dataclass(frozen=True, slots=True)
class Page:
    """What an answer holds. bars: open -> candle, those of the window. later_ms: open of the first good one after it.

    faults: open -> what was wrong with it, in words, of the window; open -1 for rows whose open is not readable.
    """

    bars: dict[int, _Bar]
    later_ms: int | None
    faults: dict[int, str]


def read_page(rows: Iterable[Any], window: Slots) -> Page:
    """Sort out the rows of an answer, which may come in any order, twice, off the grid, or before the window.

    A candle must have finite prices above 0 with low <= open, close <= high and a finite volume of at least 0. Two
    candles of one open that differ are both refused.
    """
    bars: dict[int, _Bar] = {}
    faults: dict[int, str] = {}
    later_ms: int | None = None
    offset_ms = grid_offset_ms(window.step_ms)
    for row in rows:
        open_ms = _open_of(row)
        if open_ms is None:
            faults[-1] = f"{row!r:.80} is no candle"
        elif (open_ms - offset_ms) % window.step_ms:
            if window.first_ms <= open_ms <= window.last_ms:
                faults[open_ms] = f"{time_text(open_ms)} is no multiple of the timeframe"
        elif open_ms >= window.first_ms:
            fault = _fault(row)
            if open_ms > window.last_ms:
                later_ms = open_ms if fault is None and not _before(later_ms, open_ms) else later_ms
            elif fault is not None:
                faults[open_ms] = f"{time_text(open_ms)} {fault}"
            else:
                _take(bars, faults, (open_ms, *(float(cell) for cell in row[1:6])))  # type: ignore[arg-type]
    for open_ms in faults:
        bars.pop(open_ms, None)
    return Page(bars, later_ms, faults)


def bar_array(bars: Iterable[_Bar]) -> BarArray:
    """Candles as an array, ascending."""
    return np.array(sorted(bars), dtype=BAR_DTYPE)


def runs_of_slots(opens: Sequence[int], step_ms: int) -> list[tuple[int, int]]:
    """Ascending opens as runs without a gap, both ends included."""
    runs: list[tuple[int, int]] = []
    for open_ms in opens:
        if runs and open_ms == runs[-1][1] + step_ms:
            runs[-1] = (runs[-1][0], open_ms)
        else:
            runs.append((open_ms, open_ms))
    return runs


def faults_text(faults: dict[int, str]) -> str:
    """The first faults of a page for people."""
    said = [faults[open_ms] for open_ms in sorted(faults)]
    more = f" and {len(said) - _MOST_NAMED} more" if len(said) > _MOST_NAMED else ""
    return "; ".join(said[:_MOST_NAMED]) + more


def _open_of(row: Any) -> int | None:
    is_row = isinstance(row, (list, tuple)) and len(row) >= 6
    return row[0] if is_row and isinstance(row[0], int) and row[0] > 0 else None


def _before(known_ms: int | None, open_ms: int) -> bool:
    return known_ms is not None and known_ms <= open_ms


def _take(bars: dict[int, _Bar], faults: dict[int, str], bar: _Bar) -> None:
    known = bars.setdefault(bar[0], bar)
    if known != bar:
        faults[bar[0]] = f"{time_text(bar[0])} came twice with different values"


def _fault(row: Sequence[Any]) -> str | None:
    """Why a row is no candle that a market can have made; None if it is one."""
    cells = row[1:6]
    if not all(isinstance(cell, (int, float)) and math.isfinite(cell) for cell in cells):
        return f"must have five numbers, has {cells!r:.80}"
    opened, high, low, close, volume = cells
    if low <= 0 or volume < 0 or not low <= min(opened, close) <= max(opened, close) <= high:
        return f"is impossible: o={opened} h={high} l={low} c={close} v={volume}"
    return None
