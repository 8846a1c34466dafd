"""Signals of a run in words."""

from __future__ import annotations

from dataclasses import dataclass

from mei.model.replay import CONFIDENCES, ReplayResult


@dataclass(frozen=True, slots=True)
class Signal:
    """A bar's word on an entry, after a reversal and the regime filter, whatever the portfolio made of it.

    at_ms: close of the bar, epoch ms UTC. side: 1 buy, -1 sell. bar: `main` or `entry`, of the series that entries are
    made at. px (its close), ema_fast, ema_slow, atr in quote per base: the indicators of the newest main bar before.
    blocked: filters that hold it back.
    """

    at_ms: int
    symbol: str
    side: int
    confidence: str
    bar: str
    px: float
    rsi: float
    ema_fast: float
    ema_slow: float
    adx: float
    atr: float
    blocked: tuple[str, ...]


def mei_alpha_signals(result: ReplayResult) -> list[Signal]:
    """The signals of a run of Mei Alpha, by time and symbol; empty when it was not asked to export its state."""
    from mei.engines.mei_alpha_signals import FILTERS, MeiAlphaResult

    if not isinstance(result, MeiAlphaResult) or result.signals is None:
        return []
    return [
        Signal(
            at_ms=at_ms,
            symbol=result.symbols[number],
            side=side,
            confidence=CONFIDENCES[confidence],
            bar="entry" if is_tick else "main",
            px=px,
            rsi=rsi,
            ema_fast=ema_fast,
            ema_slow=ema_slow,
            adx=adx,
            atr=atr,
            blocked=tuple(name for bit, name in FILTERS.items() if blocked & bit),
        )
        for (
            at_ms,
            number,
            is_tick,
            side,
            confidence,
            blocked,
            px,
            adx,
            atr,
            rsi,
            ema_fast,
            ema_slow,
        ) in result.signals.tolist()
    ]
