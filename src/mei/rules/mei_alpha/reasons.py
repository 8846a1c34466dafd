"""The words of a trade's reason (specification part 1, E.2, and part 2, D and E.3)."""

from __future__ import annotations

from mei.rules.mei_alpha import codes

_TIERS = ("Low", "Medium", "High")

#: Texts without numbers in them.
_FIXED = {
    codes.STOP_LOSS: "Stop Loss",
    codes.TRAILING_STOP: "Trailing Stop",
    codes.TAKE_PROFIT: "Take Profit",
    codes.TAKE_PROFIT_PARTIAL: "Take Profit (Partial)",
    codes.SIGNAL_FLIP: "Signal Flip",
    codes.TREND_BREAKDOWN: "Trend Breakdown (EMA Cross)",
    codes.MACRO_BREAKDOWN: "EMA Macro Breakdown",
    codes.MACRO_BREAKOUT: "EMA Macro Breakout",
    codes.END_OF_BACKTEST: "End of Backtest",
}


def reason_text(reason: int, confidence: int, detail_1: float, detail_2: float) -> str:
    """What the `reason` column says; detail_1 and detail_2 are the numbers of the trade record."""
    if reason in _FIXED:
        return _FIXED[reason]
    if reason == codes.ENTRY:
        return f"{_TIERS[confidence]} entry"
    if reason == codes.ENTRY_SUB_BAR:
        return f"{_TIERS[confidence]} entry (sub-bar)"
    if reason == codes.PYRAMID:
        return f"Pyramid #{int(detail_1)}"
    if reason == codes.TREND_EXHAUSTION:
        return f"Trend Exhaustion (ADX < {shortest(detail_1)})"
    if reason == codes.STAGNATION:
        return f"Stagnation Exit (Low Vol: {detail_1:.2f} < {detail_2:.2f})"
    if reason == codes.SATURATION:
        return (
            f"Trend Saturation Momentum Exhaustion (ADX: {detail_1:.1f}, ADX_slope: {detail_2:.2f})"
        )
    if reason == codes.DIVERGENCE:
        return f"MACD Persistent Divergence (Profit: {detail_1:.2f} ATR)"
    if reason == codes.RSI_OVERBOUGHT:
        return f"RSI Overbought ({detail_1:.1f}, Thr: {shortest(detail_2)})"
    if reason == codes.RSI_OVERSOLD:
        return f"RSI Oversold ({detail_1:.1f}, Thr: {shortest(detail_2)})"
    return f"Funding rate={detail_1:.6f}"


def shortest(value: float) -> str:
    """Shortest round-trip decimal without exponent and without a trailing `.0`: 22.0 is `22`, 27.5 is `27.5`."""
    text = repr(float(value))
    if "e" in text:
        from decimal import Decimal

        text = format(Decimal(text), "f")
    return text[:-2] if text.endswith(".0") else text
