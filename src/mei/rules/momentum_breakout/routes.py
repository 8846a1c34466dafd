"""Where a position opened at a signal ends, for every signal on its own: what makes a walk that leaps possible.

With one symbol the account decides how much is bought, never when: the bar and the price at which a position is left
follow from its signal and from one setting each. They stand in tables of one row a setting and one column a signal,
which configurations that agree on the setting share:

- stop, target: the first bar whose range reaches the level (`protective_exit` gives the price);
- plan: the time exit or the opposite signal, whichever comes first.

The order in which things happen on one bar (the specification, "Order of a bar") is that of the exits' keys, so the
earliest exit is the smallest key.
"""

from math import inf
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mei.model.bars import FloatArray, IntArray
from mei.rules.exits import protective_exit, stop_px, target_px
from mei.rules.momentum_breakout.passage import first_at_or_below
from mei.rules.momentum_breakout.reasons import STOP
from mei.rules.momentum_breakout.records import RecordArray
from mei.rules.momentum_breakout.signals import SideArray

#: One signal: bar number; 1 or -1; the price before slippage at which its order fills; the first later bar with an
#: opposite signal, or the number of bars.
SIGNAL_DTYPE = np.dtype(
    [("bar", "<i8"), ("side", "<i8"), ("entry_ref_px", "<f8"), ("opposite_bar", "<i8")]
)

#: One exit of a signal's position: the price before slippage; the lowest and highest close while it is held, low_px
#: above high_px where nobody has looked yet.
LEAVING_DTYPE = np.dtype([("ref_px", "<f8"), ("low_px", "<f8"), ("high_px", "<f8")])

#: What a row of the tables is about: PLAN with `max_hold_bars`, STOPS or TARGETS with `bps`. move: row of
#: `Track.falls_by` and `Track.rises_by` for so many bps, or -1. is_whole: 1 = all of the row is wanted.
SETTING_DTYPE = np.dtype(
    [
        ("kind", "<i8"),
        ("max_hold_bars", "<i8"),
        ("bps", "<f8"),
        ("move", "<i8"),
        ("is_whole", "<i8"),
    ]
)
STOPS, TARGETS, PLAN = 0, 1, 2

#: One bar's prices, quote per base.
PRICES_DTYPE = np.dtype([("open", "<f8"), ("high", "<f8"), ("low", "<f8"), ("close", "<f8")])

BarNumbers = npt.NDArray[np.int32]

#: Key of an exit that nobody has looked for yet.
UNKNOWN = -1

#: Kinds of exits in the order of `reasons`, from `reasons.STOP` on.
_STOP, _TARGET, _TIME, _REVERSE = 0, 1, 2, 3
_SIGNAL_BITS, _TURN_BITS = 32, 2
_SIGNAL_MASK, _TURN_MASK = (1 << 32) - 1, 3

#: Signals are looked up by blocks of bars.
LOOK_UP_BITS = 5


class Track(NamedTuple):
    """Bars of one symbol, PRICES_DTYPE, and the trees of `passage` over their lows and over their negated highs.

    falls_by, rises_by: int32, (n_moves, n_bars): 1 + the first bar after a signal's bar that is so many bps below or
    above the price the signal's order fills at; 0 = nobody has looked yet. fills_at_close: 1 = an order fills at the
    close at which it is decided, 0 = at the next open.
    """

    prices: RecordArray
    lows: FloatArray
    highs: FloatArray
    starts: IntArray
    falls_by: BarNumbers
    rises_by: BarNumbers
    fills_at_close: int


class Found(NamedTuple):
    """The signals of one configuration of the first stages, SIGNAL_DTYPE, ascending.

    first_from: the first signal at or after bar b << LOOK_UP_BITS, by b.
    """

    signals: RecordArray
    first_from: IntArray


class Exits(NamedTuple):
    """Tables of exits: SETTING_DTYPE, (n_rows,); keys (`exit_key`) and LEAVING_DTYPE, (n_rows, n_signals)."""

    settings: RecordArray
    keys: IntArray
    leavings: RecordArray


def exit_key(bar: int, kind: int, next_signal: int, fills_at_close: int) -> int:
    """What sorts exits by when they happen: bar, turn on the bar; and the first signal after that bar.

    By the next open, what was decided fills before the range is met; by the close, after.
    """
    turn = kind if fills_at_close != 0 else (kind + 2) & _TURN_MASK
    return (((bar << _TURN_BITS) + turn) << _SIGNAL_BITS) + next_signal


def bar_of(key: int) -> int:
    """The bar of an exit; the number of bars if there is none."""
    return key >> (_SIGNAL_BITS + _TURN_BITS)


def reason_of(key: int, fills_at_close: int) -> int:
    """The reason of an exit, as in `reasons`."""
    turn = (key >> _SIGNAL_BITS) & _TURN_MASK
    return STOP + (turn if fills_at_close != 0 else (turn + 2) & _TURN_MASK)


def next_signal_of(key: int) -> int:
    """The first signal after an exit's bar; the number of signals if there is none."""
    return key & _SIGNAL_MASK


def write_signals(bars: IntArray, sides: SideArray, track: Track, found: Found) -> None:
    """Make `found` of the bars with a signal and of what it is; none of them is filled after the last bar."""
    signals = found.signals
    n_bars, n_signals = len(track.prices), len(signals)
    next_long, next_short = n_bars, n_bars
    for back in range(n_signals):
        number = n_signals - 1 - back
        signal = signals[number]
        bar, side = bars[number], int(sides[number])
        signal.bar = bar
        signal.side = side
        if track.fills_at_close != 0:
            signal.entry_ref_px = track.prices[bar].close
        else:
            signal.entry_ref_px = track.prices[bar + 1].open
        if side > 0:
            signal.opposite_bar = next_short
            next_long = bar
        else:
            signal.opposite_bar = next_long
            next_short = bar
    number = 0
    for block in range(len(found.first_from)):
        while number < n_signals and bars[number] < block << LOOK_UP_BITS:
            number += 1
        found.first_from[block] = number


def fill_row(found: Found, track: Track, exits: Exits, row: int) -> None:
    """Begin a row of the tables: all of it where `is_whole` says so, else each exit when it is asked for."""
    if exits.settings[row].is_whole != 0:
        find_exits(found, 0, len(found.signals), track, exits, row)
    else:
        for number in range(len(found.signals)):
            exits.keys[row, number] = UNKNOWN


def find_exits(found: Found, first: int, end: int, track: Track, exits: Exits, row: int) -> None:
    """Fill in a row's exits of the positions of signals `first` to `end - 1`: when and at which price."""
    if exits.settings[row].kind == PLAN:
        plan_exits(found, first, end, track, exits, row)
    else:
        find_touches(found, first, end, track, exits, row)


def plan_exits(found: Found, first: int, end: int, track: Track, exits: Exits, row: int) -> None:
    """The time exit or the reversal of each position, whichever comes first."""
    max_hold_bars = exits.settings[row].max_hold_bars
    n_bars = len(track.prices)
    delay = 0 if track.fills_at_close != 0 else 1
    for number in range(first, end):
        signal = found.signals[number]
        kind = _REVERSE
        bar = signal.opposite_bar
        # The bars held count from the bar of the fill.
        if max_hold_bars > 0 and signal.bar + delay + max_hold_bars <= bar:
            kind = _TIME
            bar = signal.bar + delay + max_hold_bars
        # What is decided at the last close is not filled at a next open.
        bar += delay
        leaving = exits.leavings[row, number]
        leaving.low_px, leaving.high_px = inf, -inf
        following = len(found.signals)
        if bar < n_bars:
            prices = track.prices[bar]
            leaving.ref_px = prices.close if track.fills_at_close != 0 else prices.open
            following = signal_after(found, bar, number + 1)
        else:
            bar = n_bars
        exits.keys[row, number] = exit_key(bar, kind, following, track.fills_at_close)


def find_touches(found: Found, first: int, end: int, track: Track, exits: Exits, row: int) -> None:
    """The stops or targets of positions.

    A fall by so many bps is one level, whether it stops a long or is the target of a short; so both share what was
    found.
    """
    setting = exits.settings[row]
    n_bars = len(track.prices)
    for number in range(first, end):
        signal = found.signals[number]
        side = signal.side
        stop, target, towards = 0.0, 0.0, side
        if setting.kind == STOPS:
            stop, towards = stop_px(signal.entry_ref_px, side, setting.bps), -side
        else:
            target = target_px(signal.entry_ref_px, side, setting.bps)
        known = track.rises_by if towards > 0 else track.falls_by
        bar = n_bars if stop + target <= 0.0 else -1
        if bar < 0 and setting.move >= 0:
            bar = known[setting.move, signal.bar] - 1
        if bar < 0:
            level_px = stop + target
            bar = first_touch(
                track.lows, track.highs, track.starts, n_bars, signal.bar + 1, level_px, towards
            )
            if setting.move >= 0:
                known[setting.move, signal.bar] = bar + 1
        leaving = exits.leavings[row, number]
        leaving.low_px, leaving.high_px = inf, -inf
        following = len(found.signals)
        if bar < n_bars:
            prices = track.prices[bar]
            _, leaving.ref_px = protective_exit(
                side, prices.open, prices.high, prices.low, stop, target
            )
            following = signal_after(found, bar, number + 1)
        kind = _STOP if setting.kind == STOPS else _TARGET
        exits.keys[row, number] = exit_key(bar, kind, following, track.fills_at_close)


def signal_after(found: Found, bar: int, first: int) -> int:
    """The first signal after `bar`, none before number `first`; the number of signals if there is none."""
    signals = found.signals
    number = found.first_from[bar >> LOOK_UP_BITS]
    if number < first:
        number = first
    while number < len(signals) and signals[number].bar <= bar:
        number += 1
    return number


def first_touch(
    lows: FloatArray,
    highs: FloatArray,
    starts: IntArray,
    n_bars: int,
    first: int,
    level_px: float,
    towards: int,
) -> int:
    """The first bar from `first` on whose range reaches a level, from below (1) or from above (-1); n_bars if none."""
    if towards > 0:
        return first_at_or_below(highs, starts, n_bars, first, -level_px)
    return first_at_or_below(lows, starts, n_bars, first, level_px)
