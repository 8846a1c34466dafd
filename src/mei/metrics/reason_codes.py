"""Trade reasons sorted into codes and categories, by their words (specification part 2, E.3 and F.3)."""

from __future__ import annotations

#: Every code, in the order of reports.
REASON_CODES = (
    "entry_signal",
    "entry_signal_sub_bar",
    "entry_pyramid",
    "exit_stop_loss",
    "exit_take_profit",
    "exit_trailing_stop",
    "exit_signal_flip",
    "exit_filter",
    "exit_funding",
    "exit_force_close",
    "exit_end_of_backtest",
    "funding_payment",
    "unknown",
)

#: Whole reasons of momentum_breakout; its other exits are `exit_filter`.
_EXACT_EXITS = {
    "stop": "exit_stop_loss",
    "take_profit": "exit_take_profit",
    "reverse": "exit_signal_flip",
}
#: Words in reasons of Mei Alpha. First match wins, here and below.
_EXIT_CODES = (
    ("Stop Loss", "exit_stop_loss"),
    ("Trailing Stop", "exit_trailing_stop"),
    ("Take Profit", "exit_take_profit"),
    ("Signal Flip", "exit_signal_flip"),
    ("Funding", "exit_funding"),
    ("Force Close", "exit_force_close"),
    ("End of Backtest", "exit_end_of_backtest"),
)
_CATEGORIES = (
    ("Stop Loss", "Stop Loss"),
    ("Trailing Stop", "Trailing Stop"),
    ("Take Profit", "Take Profit"),
    ("Signal Flip", "Signal Flip"),
    ("Trend Breakdown", "Trend Breakdown"),
    ("Trend Exhaustion", "Trend Exhaustion"),
    ("EMA Macro", "EMA Macro Breakdown"),
    ("Stagnation", "Stagnation Exit"),
    ("RSI Over", "RSI Overextension"),
    ("TSME", "TSME"),
    ("Saturation", "TSME"),
    ("MMDE", "MMDE"),
    ("Divergence", "MMDE"),
    ("Funding", "Funding Headwind"),
    ("Force Close", "Force Close (EOD)"),
)


def reason_code(action: str, reason: str) -> str:
    """The code of a record: `action` as in `mei.model.replay.ACTIONS`, `reason` as the report words it."""
    if action == "FUNDING":
        return "funding_payment"
    if action.startswith("OPEN_"):
        return "entry_signal_sub_bar" if "sub-bar" in reason else "entry_signal"
    if action.startswith("ADD_"):
        return "entry_pyramid"
    if action.startswith(("CLOSE_", "REDUCE_")):
        usual = _EXACT_EXITS.get(reason, "exit_filter")
        return next((code for words, code in _EXIT_CODES if words in reason), usual)
    return "unknown"


def exit_category(reason: str) -> str:
    """Exit reasons without their numbers; a reason of no known category is one of its own."""
    return next((category for words, category in _CATEGORIES if words in reason), reason)
