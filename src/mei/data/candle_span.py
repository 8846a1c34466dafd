"""Where candles do not reach over the window of a run: late starts, early ends and holes, one line for each kind."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mei.data.stamps import length_text, time_text
from mei.model.candles import Candles

#: Symbols named in a line.
_MOST_NAMED = 5


class Span(NamedTuple):
    """Times in epoch ms UTC: from when to when a symbol should have candles, both ends included."""

    from_ms: int
    to_ms: int


class _Fault(NamedTuple):
    """What a symbol lacks: how long in ms, and how a line names it."""

    lacks_ms: int
    symbol: str
    said: str


def span_of(candles: Candles, from_ms: int | None, to_ms: int | None) -> Span:
    """The window of a run; where it is open, from the first open to the last close of all symbols."""
    first_ms = int(candles.open_ms.min()) if from_ms is None else from_ms
    last_ms = int(candles.open_ms.max()) + candles.interval_ms if to_ms is None else to_ms
    return Span(first_ms, last_ms)


def span_notes(candles: Candles, symbols: tuple[str, ...], window: Span, what: str) -> list[str]:
    """A line for each of: symbols that start after the window's start, end before its end, have holes in it.

    symbols: those that count. what: the candles, for people. A bar belongs to the window when it closes in it. Labels
    that are no length of time are passed over, and so are symbols without a bar.
    """
    step_ms = candles.interval_ms
    late: list[_Fault] = []
    early: list[_Fault] = []
    holes: list[_Fault] = []
    n_missing = 0
    for symbol in symbols if step_ms > 0 else ():
        opens = candles.open_ms[candles.rows_of(symbol)]
        if not len(opens):
            continue
        first_ms, end_ms = int(opens[0]), int(opens[-1]) + step_ms
        if first_ms > window.from_ms:
            lacks_ms = first_ms - window.from_ms
            late.append(_Fault(lacks_ms, symbol, f"{symbol} from {time_text(first_ms)}"))
        if end_ms + step_ms <= window.to_ms:
            lacks_ms = window.to_ms - end_ms
            early.append(_Fault(lacks_ms, symbol, f"{symbol} to {time_text(end_ms)}"))
        distances = np.diff(opens)
        is_hole = distances > step_ms
        is_hole &= (opens[1:] > window.from_ms) & (opens[:-1] + step_ms < window.to_ms)
        if is_hole.any():
            n_missing += int((distances[is_hole] // step_ms - 1).sum())
            widest = int(np.argmax(np.where(is_hole, distances, 0)))
            lacks_ms = int(distances[widest]) - step_ms
            gone_ms = int(opens[widest]) + step_ms
            said = f"{symbol} {time_text(gone_ms)} to {time_text(gone_ms + lacks_ms)}"
            holes.append(_Fault(lacks_ms, symbol, said))
    of_all = f"of {len(symbols)} symbols"
    notes = []
    if late:
        notes.append(
            f"{what} must reach back to the window's start, {time_text(window.from_ms)}; {len(late)} {of_all} start "
            f"later ({_worst(late)}): nothing is decided on them before; import earlier candles or start later"
        )
    if early:
        notes.append(
            f"{what} must reach to the window's end, {time_text(window.to_ms)}; {len(early)} {of_all} end earlier "
            f"({_worst(early)}): nothing is decided on them after; import newer candles or end earlier"
        )
    if holes:
        largest = max(holes, key=lambda fault: fault.lacks_ms)
        notes.append(
            f"{what} must have every bar of the window; {len(holes)} {of_all} lack {n_missing} bars "
            f"({_named([fault.symbol for fault in holes])}; the longest hole is {length_text(largest.lacks_ms)}: "
            f"{largest.said}): nothing is decided in a hole; import what is missing"
        )
    return notes


def _worst(faults: list[_Fault]) -> str:
    """The symbols that lack most, first."""
    ordered = sorted(faults, key=lambda fault: -fault.lacks_ms)
    return _named([fault.said for fault in ordered])


def _named(names: list[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (", …" if len(names) > _MOST_NAMED else "")
