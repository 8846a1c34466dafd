"""Candles that no market can have made: what strict runs refuse before they compute with them."""

from __future__ import annotations

import re

import numpy as np

from mei.data.research import SeriesScan
from mei.data.stamps import length_text, time_text
from mei.model.bars import IntArray
from mei.model.candles import Candles
from mei.model.errors import ConfigError, DataError

#: Fewer equal distances than these can be holes.
_FEWEST_TO_TELL = 3


def refuse_month(interval: str, flag: str) -> None:
    """ConfigError, naming `flag`, for a label such as 1M: a month elsewhere, and easily taken for a minute."""
    if re.fullmatch(r"\d+M", interval):
        raise ConfigError(
            f"{flag} must be a length of time, was {interval!r}, which is months, and those differ in length: did you "
            f"mean {interval.lower()} (minutes)?"
        )


def refuse_impossible(candles: Candles, source: str) -> None:
    """DataError for the first bar that cannot be, naming `source`, symbol, interval, open time and what was found.

    Prices must be finite and above 0, the low not above and the high not below open and close, the volume finite and
    at least 0.
    """
    low, high = candles.low, candles.high
    prices = np.stack((candles.open, high, low, candles.close))
    possible = (np.isfinite(prices) & (prices > 0.0)).all(axis=0)
    possible &= low <= np.minimum(candles.open, candles.close)
    possible &= high >= np.maximum(candles.open, candles.close)
    possible &= np.isfinite(candles.volume) & (candles.volume >= 0.0)
    if possible.all():
        return
    row = int(np.argmin(possible))
    symbol = candles.symbols[int(np.searchsorted(candles.offsets, row, side="right")) - 1]
    names = ("o", "h", "l", "c", "v")
    found = ", ".join(
        f"{name}={float(column[row])}"
        for name, column in zip(names, candles.columns()[1:], strict=True)
    )
    n_others = int(np.count_nonzero(~possible)) - 1
    others = f" (and {n_others} more bars)" if n_others else ""
    raise DataError(
        f"{source}: the bar of {symbol} ({candles.interval}) at {time_text(int(candles.open_ms[row]))} must have "
        "finite prices above 0 with l <= o, c <= h and a finite volume of at least 0, "
        f"found {found}{others}: correct the row or import it again"
    )


def refuse_spacing(candles: Candles, source: str) -> None:
    """DataError when the bars of a symbol do not lie as the label says, naming `source`, symbol and what was found.

    Two bars that open less than an interval apart overlap. If another distance is commoner than the interval, and not
    by the chance of a bar or two, the bars are longer than their label. Labels that are no length of time pass.
    """
    wanted_ms = candles.interval_ms
    if wanted_ms <= 0:
        return
    for number, symbol in enumerate(candles.symbols):
        opens = candles.open_ms[candles.offsets[number] : candles.offsets[number + 1]]
        distances = np.diff(opens)
        others = distances[distances != wanted_ms]
        if not len(others):
            continue
        label = candles.interval
        if (shortest_ms := int(others.min())) < wanted_ms:
            at_ms = int(opens[np.argmax(distances == shortest_ms)])
            found = length_text(shortest_ms)
            raise DataError(
                f"{source}: bars labelled {label} must open at least {label} apart, those of {symbol} at "
                f"{time_text(at_ms)} and {time_text(at_ms + shortest_ms)} open {found} apart: the label must say how "
                f"long the bars are; import them again (--timeframe {found} --resample {label} makes {label} of "
                f"{found} bars)"
            )
        usual_ms, n_usual = commonest(others)
        if is_other_length(n_usual, len(distances) - len(others)):
            found = length_text(usual_ms)
            raise DataError(
                f"{source}: bars labelled {label} must open {label} apart, those of {symbol} mostly open {found} apart "
                f"({n_usual} of {len(distances)} distances from {time_text(int(opens[0]))} on): the label must say how "
                f"long the bars are; import them again with --timeframe {found}, or give the {label} candles"
            )


def is_other_length(n_usual: int, n_labelled: int) -> bool:
    """Whether bars must be longer than their label: so many lie `n_usual` apart, so many as the label says."""
    return n_usual >= _FEWEST_TO_TELL and n_usual > n_labelled


def commonest(distances: IntArray) -> tuple[int, int]:
    """The commonest of some distances in ms, the smallest of equally common ones, and how often it stands."""
    values, counts = np.unique(distances, return_counts=True)
    most = int(np.argmax(counts))
    return int(values[most]), int(counts[most])


def refuse_longer(scan: SeriesScan) -> None:
    """DataError when the bars of files are longer than their timeframe says: then nearly every one is a gap."""
    if not scan.gaps:
        return
    n_read = scan.n_bars - (scan.n_missing if scan.gap_policy == "ffill" else 0)
    listed = np.array([gap.before_ms - gap.after_ms for gap in scan.gaps], dtype=np.int64)
    usual_ms, n_usual = commonest(listed)
    # Only the first gaps are listed; the others are taken to be like them.
    if not is_other_length(n_usual * scan.n_gaps // len(listed), n_read - 1 - scan.n_gaps):
        return
    frame, found = scan.timeframe, length_text(usual_ms)
    raise DataError(
        f"{scan.folder / scan.files[0].name}: bars of --timeframe {frame} must open {frame} apart, those of "
        f"{scan.symbol} mostly open {found} apart ({scan.n_gaps} gaps in {n_read} bars): give --timeframe {found}; "
        f"--timeframe {frame} --resample {found} is for {frame} candles that are to become {found}"
    )
