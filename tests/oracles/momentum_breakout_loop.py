"""momentum_breakout as a plain loop, straight from the specification; shares no code with rules or engine.

One instrument, `strict` order of a bar. Slow and obvious on purpose.
"""

from __future__ import annotations

import math


def plain_loop(  # noqa: C901 — one loop, as the specification tells it
    bars: list[tuple[int, float, float, float, float]],
    params: dict[str, object],
    *,
    fee_bps: float,
    slippage_bps: float,
    cash: float,
    entry_fill: str = "next_open",
) -> tuple[list[dict[str, object]], list[float]]:
    """bars: (close_ms, open, high, low, close). Returns executed actions and the equity at each close."""
    p = {"signal": "channel", "breakout_bps": 0.0, "breakout_z": 2.0, "allow_short": True} | params
    fills: list[dict[str, object]] = []
    equity_curve: list[float] = []
    position = None
    pending = None

    def fill_price(price: float, is_buy: bool) -> float:
        return price * (1 + slippage_bps / 1e4) if is_buy else price * (1 - slippage_bps / 1e4)

    def enter(t: int, reference: float, side: str, notional: float) -> dict[str, object]:
        nonlocal cash
        price = fill_price(reference, side == "long")
        qty = notional / reference
        fee = qty * price * fee_bps / 1e4
        cash -= fee
        sign = 1 if side == "long" else -1
        fills.append(
            dict(t=bars[t][0], action="open", side=side, qty=qty, price=price, fee=fee, pnl=0.0)
        )
        return dict(
            side=side,
            qty=qty,
            price=price,
            t=t,
            stop=reference * (1 - sign * p["stop_bps"] / 1e4) if p["stop_bps"] else None,
            target=reference * (1 + sign * p["take_profit_bps"] / 1e4)
            if p["take_profit_bps"]
            else None,
        )

    def leave(t: int, reference: float, reason: str) -> None:
        nonlocal cash, position
        price = fill_price(reference, position["side"] == "short")
        fee = position["qty"] * price * fee_bps / 1e4
        gain = price - position["price"]
        pnl = gain * position["qty"] if position["side"] == "long" else -gain * position["qty"]
        cash += pnl
        cash -= fee
        fills.append(
            dict(
                t=bars[t][0],
                action="close",
                side=position["side"],
                qty=position["qty"],
                price=price,
                fee=fee,
                pnl=pnl,
                reason=reason,
            )
        )
        position = None

    for t, (_, o, h, low, c) in enumerate(bars):
        closed_here = False
        if pending is not None:
            if pending[0] == "close":
                leave(t, o, pending[1])
                closed_here = True
            else:
                position = enter(t, o, pending[1], pending[2])
            pending = None
        if position is not None and not (entry_fill == "signal_close" and position["t"] == t):
            stop, target = position["stop"], position["target"]
            if position["side"] == "long":
                if stop is not None and low <= stop:
                    leave(t, min(o, stop), "stop")
                    closed_here = True
                elif target is not None and h >= target:
                    leave(t, max(o, target), "take_profit")
                    closed_here = True
            else:
                if stop is not None and h >= stop:
                    leave(t, max(o, stop), "stop")
                    closed_here = True
                elif target is not None and low <= target:
                    leave(t, min(o, target), "take_profit")
                    closed_here = True
        signal = _signal(bars, t, p)
        equity = cash + _unrealised(position, c)
        action = None
        if position is not None:
            if p["max_hold_bars"] and t - position["t"] >= p["max_hold_bars"]:
                action = ("close", "time")
            elif signal is not None and signal != position["side"]:
                action = ("close", "reverse")
        elif signal is not None and not closed_here:
            action = ("open", signal, p.get("notional_usd") or p["allocation_frac"] * equity)
        if action is not None and entry_fill == "signal_close":
            if action[0] == "close":
                leave(t, c, action[1])
            else:
                position = enter(t, c, action[1], action[2])
        else:
            pending = action
        equity_curve.append(cash + _unrealised(position, c))
    return fills, equity_curve


def _unrealised(position: dict | None, close: float) -> float:
    if position is None:
        return 0.0
    gain = close - position["price"]
    return gain * position["qty"] if position["side"] == "long" else -gain * position["qty"]


def _signal(bars: list, t: int, p: dict) -> str | None:
    lookback = p["lookback"]
    if t < lookback:
        return None
    close = bars[t][4]
    if p["signal"] == "channel":
        if close > max(b[2] for b in bars[t - lookback : t]) * (1 + p["breakout_bps"] / 1e4):
            return "long"
        floor = min(b[3] for b in bars[t - lookback : t]) * (1 - p["breakout_bps"] / 1e4)
        return "short" if p["allow_short"] and close < floor else None
    closes = [b[4] for b in bars[t - lookback + 1 : t + 1]]
    mean = 0.0
    for value in closes:
        mean += value
    mean /= lookback
    squares = 0.0
    for value in closes:
        squares += (value - mean) * (value - mean)
    deviation = math.sqrt(squares / (lookback - 1))
    if deviation == 0:
        return None
    z = (close - mean) / deviation
    if z > p["breakout_z"]:
        return "long"
    return "short" if p["allow_short"] and z < -p["breakout_z"] else None
