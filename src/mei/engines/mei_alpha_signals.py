"""The signals of a run: what its bars said of entries, whatever became of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mei.model.replay import ReplayResult
from mei.rules.mei_alpha.records import BLOCKED_CONFIDENCE, BLOCKED_REEF, BLOCKED_SSF

#: Filters that hold a signal back whatever the portfolio holds, by their bits, as the report's counters call them.
FILTERS = {BLOCKED_CONFIDENCE: "confidence", BLOCKED_SSF: "ssf", BLOCKED_REEF: "reef"}
#: Read from the main bar that the decision was made over; the rest stands in the candidate.
_OF_BAR = ("rsi", "ema_fast", "ema_slow")
#: symbol: number in the result's `symbols`. known_ms: close of the bar that signalled, epoch ms UTC, and close_px its
#: price, quote per base. is_tick: it was an entry sub-bar. blocked: bits of FILTERS.
SIGNAL_DTYPE = np.dtype(
    [
        ("known_ms", "<i8"),
        ("symbol", "<i8"),
        ("is_tick", "?"),
        ("side", "<i8"),
        ("confidence", "<i8"),
        ("blocked", "<i8"),
        ("close_px", "<f8"),
        ("adx", "<f8"),
        ("atr", "<f8"),
        ("rsi", "<f8"),
        ("ema_fast", "<f8"),
        ("ema_slow", "<f8"),
    ]
)


@dataclass(frozen=True, slots=True)
class MeiAlphaResult(ReplayResult):
    """signals: SIGNAL_DTYPE of the bars that the run was first to see, by time and symbol; None unless it exports its
    state."""

    signals: Any = None


def signals_of(rows: Any, candidates: Any, ticks: Any) -> Any:
    """SIGNAL_DTYPE of a screened run: of main bars (candidates) or, where those drive entries, of entry sub-bars.

    rows: INDICATOR_ROW_DTYPE of all main bars.
    """
    both = np.concatenate([candidates, ticks])
    signals = np.empty(len(both), dtype=SIGNAL_DTYPE)
    read = rows[both["base_row"]]
    for name in SIGNAL_DTYPE.names or ():
        signals[name] = read[name] if name in _OF_BAR else both[name]
    return signals[np.lexsort((signals["symbol"], signals["known_ms"]))]
