"""momentum_breakout: replays and the signals of the learning loop against a plain loop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from itertools import count
from random import Random
from typing import Any, NamedTuple
from unittest.mock import patch

from tests.mutants.deck import Deck, uncompiled
from tests.oracles.momentum_breakout_loop import _signal as plain_signal
from tests.oracles.momentum_breakout_loop import plain_loop

_MINUTE_MS = 60_000
_FEE_BPS = 1.5
_CASH_USD = 10_000.0
_BREAKOUT: Mapping[str, Sequence[Any]] = {
    "signal": ("channel", "zscore"),
    "lookback": tuple(range(2, 25)),
    "breakout_bps": (0.0, 10.0),
    "breakout_z": (0.5, 1.0, 1.5),
    "allow_short": (True, True, False),
    "stop_bps": (0.0, 25.0, 80.0),
    "take_profit_bps": (0.0, 25.0, 120.0),
    "max_hold_bars": (0, 1, 4, 15),
    "notional_usd": (0.0, 1000.0),
    "allocation_frac": (0.1, 2.0),
}


class Breakout(NamedTuple):
    """rows: (known_ms, open, high, low, close). fills, curve, sides: what the plain loop says."""

    rows: list[tuple[int, float, float, float, float]]
    params: dict[str, Any]
    slippage_bps: float
    entry_fill: str
    fills: list[dict[str, Any]]
    curve: list[float]
    sides: list[str | None]


def breakout_cases() -> Iterator[Any]:
    """Walks on a coarse grid of prices, so that levels are touched and closes repeat; with holes."""
    for number in count():
        rng = Random(number)
        rows = []
        price = 400
        for i in range(rng.randrange(20, 160)):
            o = price + rng.randrange(-1, 2)
            c = price + rng.randrange(-3, 4)
            high, low = max(o, c) + rng.randrange(3), min(o, c) - rng.randrange(3)
            price = c
            if rng.randrange(20):
                rows.append((_MINUTE_MS * (i + 1), *(px / 4.0 for px in (o, high, low, c))))
        params = {name: rng.choice(values) for name, values in _BREAKOUT.items()}
        yield rows, params, rng.choice((0.0, 2.0, 7.5)), rng.choice(("next_open", "signal_close"))


def broken_out(case: Any, number: int) -> Breakout:
    """What the plain loop says."""
    del number
    rows, params, slippage_bps, entry_fill = case
    fills, curve = plain_loop(
        rows,
        params,
        fee_bps=_FEE_BPS,
        slippage_bps=slippage_bps,
        cash=_CASH_USD,
        entry_fill=entry_fill,
    )
    sides = [plain_signal(rows, t, params) for t in range(len(rows))]
    return Breakout(*case, fills, curve, sides)


def breakout_difference(found: Breakout, number: int) -> str | None:
    """Trades and curve of the replay, then the signals as the learning loop asks for them."""
    engine = import_module("mei.engines.momentum_breakout")
    windows = import_module("mei.rules.momentum_breakout.windows")
    chunk = 16 if number % 2 == 0 else windows.CHUNK_BARS
    with uncompiled({"momentum_breakout": {}}), patch.object(windows, "CHUNK_BARS", chunk):
        costs = import_module("mei.model.settings").Costs(_FEE_BPS, found.slippage_bps)
        inputs = import_module("mei.model.replay").ReplayInputs(breakout_candles(found))
        result = engine.replay(inputs, found.params, costs, found.entry_fill)
    fills = told_fills(result)
    for i, (one, other) in enumerate(zip(fills, found.fills, strict=False)):
        if one != other:
            return f"fill {i} is {one}, expected {other}"
    if len(fills) != len(found.fills):
        return f"{len(fills)} fills, expected {len(found.fills)}"
    for i, (have, want) in enumerate(zip(result.equity_usd.tolist(), found.curve, strict=True)):
        if have != want:
            return f"equity of bar {i} is {have!r}, expected {want!r}"
    for i, (side, expected) in enumerate(zip(loop_sides(found), found.sides, strict=True)):
        if side != expected:
            return f"the loop's signal of bar {i} is {side}, expected {expected}"
    return None


def breakout_candles(found: Breakout) -> Any:
    """The rows as Candles of one symbol."""
    numpy, model = import_module("numpy"), import_module("mei.model.candles")
    open_ms = numpy.array([row[0] - _MINUTE_MS for row in found.rows], dtype=numpy.int64)
    prices = [numpy.array([row[i] for row in found.rows]) for i in range(1, 5)]
    offsets = model.offsets_of([len(open_ms)])
    volume = numpy.zeros(len(open_ms))
    return model.Candles("1m", _MINUTE_MS, ("BTC/USDT",), offsets, open_ms, *prices, volume)


def told_fills(result: Any) -> list[dict[str, Any]]:
    """The trades of a replay as the plain loop tells its own."""
    actions = import_module("mei.model.replay").ACTIONS
    text = import_module("mei.rules.momentum_breakout.reasons").reason_text
    told = []
    for trade in result.trades:
        kind, _, side = actions[trade["action"]].partition("_")
        fill = {
            "t": int(trade["timestamp_ms"]),
            "action": kind.lower(),
            "side": side.lower(),
            "qty": float(trade["qty"]),
            "price": float(trade["price"]),
            "fee": float(trade["fee_usd"]),
            "pnl": float(trade["pnl_usd"]),
        }
        if kind == "CLOSE":
            fill["reason"] = text(int(trade["reason"]), 0, 0.0, 0.0)
        told.append(fill)
    return told


def loop_sides(found: Breakout) -> list[str | None]:
    """The signal of every bar by the rules that see one bar after another."""
    signals = import_module("mei.rules.momentum_breakout.signals")
    _, _, high, low, close = zip(*found.rows, strict=True)
    p = found.params
    words = {1: "long", -1: "short", 0: None}
    sides = []
    for n_bars in range(1, len(close) + 1):
        if p["signal"] == "channel":
            args = (high, low, close, n_bars, p["lookback"], p["breakout_bps"], p["allow_short"])
            side = signals.channel_signal(*args)
        else:
            side = signals.zscore_signal(
                close, n_bars, p["lookback"], p["breakout_z"], p["allow_short"]
            )
        sides.append(words[side])
    return sides


BREAKOUT = Deck(120, breakout_cases, broken_out, breakout_difference)
