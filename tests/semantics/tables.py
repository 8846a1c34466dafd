"""Small tables of candles for testing the switches of docs/concepts/semantics.md, one table a test.

Bars are written as text, a row each; times are hours and minutes from the first hour. Expected trades and equity
points are written the same way, and every number that is not in the bars has its arithmetic behind `#`, in the row or
below it, which is checked against the row: `p` is the row's price, `q` its quantity.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from mei.engines.mei_alpha import SymbolConfigs, replay
from mei.model.candles import Candles, FundingRates, offsets_of
from mei.model.replay import ACTIONS, InitPosition, InitState, ReplayInputs, ReplayResult
from mei.model.semantics import Semantics, parse_semantics
from mei.rules.mei_alpha.codes import LOW, MACD_NONE, MEDIUM
from mei.rules.mei_alpha.keys import BY_PATH, DEFAULTS, WORDS
from mei.rules.mei_alpha.reasons import reason_text

MINUTE_MS = 60_000
#: 0:00 of every table: a full hour, far from the epoch.
FIRST_MS = 472_000 * 60 * MINUTE_MS
INTERVALS = {"15m": 15, "30m": 30, "1h": 60, "4h": 240}
SYMBOL = "ETH"
NEVER = 1e9

#: Exits: the stop at 2 entry ATR and nothing else. ATR = true range of the bar; both EMAs = close, so that no cross
#: happens and no signal either; ADX = 0 and RSI = 50 while a table has less than 14 bars. Costs: none on entries, the
#: reference's half basis point on exits, fees of 3.5 bps.
QUIET: dict[str, Any] = DEFAULTS | {
    "trade.sl_atr_mult": 2.0,
    "trade.tp_atr_mult": NEVER,
    "trade.enable_partial_tp": False,
    "trade.trailing_start_atr": NEVER,
    "trade.enable_breakeven_stop": False,
    "trade.enable_vol_buffered_trailing": False,
    "trade.smart_exit_adx_exhaustion_lt": 0.0,
    "trade.enable_rsi_overextension_exit": False,
    "trade.tsme_min_profit_atr": NEVER,
    "trade.slippage_bps": 0.0,
    "trade.allocation_pct": 0.1,
    "trade.leverage": 1.0,
    "trade.enable_dynamic_leverage": False,
    "trade.enable_dynamic_sizing": False,
    "trade.max_total_margin_pct": 1.0,
    "trade.min_atr_pct": 0.0,
    "trade.enable_pyramiding": False,
    "trade.add_min_confidence": LOW,
    "trade.entry_min_confidence": LOW,
    "trade.enable_ssf_filter": False,
    "trade.enable_reef_filter": False,
    "trade.reentry_cooldown_minutes": 0,
    "trade.entry_cooldown_s": 0,
    "trade.exit_cooldown_s": 0,
    "indicators.ema_slow_window": 1,
    "indicators.ema_fast_window": 1,
    "indicators.atr_window": 1,
    "indicators.bb_window": 2,
    "indicators.bb_width_avg_window": 2,
    "filters.enable_ranging_filter": False,
    "filters.enable_anomaly_filter": False,
    "filters.enable_extension_filter": False,
    "filters.require_adx_rising": False,
    "filters.use_stoch_rsi_filter": False,
    "filters.require_btc_alignment": False,
    "thresholds.entry.macd_hist_entry_mode": MACD_NONE,
    "thresholds.entry.min_adx": NEVER,
    "thresholds.entry.ave_avg_atr_window": 2,
    "thresholds.entry.slow_drift_slope_window": 1,
}
#: Entries as well: fast EMA = close, slow EMA = half the close and half the slow EMA before. A bar that closes above
#: its slow EMA buys, one that closes below it sells ("slow drift", confidence low), at it is neutral. A position is
#: worth a tenth of the equity. The cross of the EMAs is an exit now: a long one where the bar sells, a short one
#: where it buys.
DRIFT: dict[str, Any] = QUIET | {
    "indicators.ema_slow_window": 3,
    "thresholds.entry.enable_slow_drift_entries": True,
    "thresholds.entry.slow_drift_min_slope_pct": 0.0,
    "thresholds.entry.slow_drift_min_adx": 0.0,
    "thresholds.entry.slow_drift_rsi_long_min": 0.0,
    "thresholds.entry.slow_drift_rsi_short_max": 100.0,
    "thresholds.entry.slow_drift_require_macd_sign": False,
}

Tables = str | Mapping[str, str]


@dataclass(frozen=True)
class Played:
    """A run and its inputs."""

    result: ReplayResult
    inputs: ReplayInputs

    @property
    def reasons(self) -> list[str]:
        columns = ("reason", "confidence", "detail_1", "detail_2")
        return [reason_text(*(row[c].item() for c in columns)) for row in self.result.trades]

    @property
    def trades(self) -> list[dict[str, Any]]:
        """The log in the words of a table."""
        names = {
            "price": "price",
            "qty": "qty",
            "pnl": "pnl_usd",
            "fee": "fee_usd",
            "margin": "margin_usd",
            "balance": "balance_usd",
            "lowest": "lowest_px",
            "highest": "highest_px",
        }
        return [
            {
                "time": at(row["timestamp_ms"].item()),
                "symbol": self.result.symbols[row["symbol"]],
                "action": ACTIONS[row["action"]],
                "reason": reason,
                **{word: row[column].item() for word, column in names.items()},
            }
            for row, reason in zip(self.result.trades, self.reasons, strict=True)
        ]

    @property
    def equity(self) -> list[dict[str, Any]]:
        points = zip(self.result.equity_ms.tolist(), self.result.equity_usd.tolist(), strict=True)
        return [{"time": at(ms), "equity": usd} for ms, usd in points]


def holding(
    side: str,
    qty: float,
    entry_px: float,
    *,
    symbol: str = SYMBOL,
    atr: float = 1.0,
    confidence: int = MEDIUM,
    leverage: float = 1.0,
    margin: float | None = None,
    trailing: float | None = None,
    tp1_taken: bool = False,
) -> InitPosition:
    """A position that the run starts with; its margin is its notional unless given."""
    return InitPosition(
        symbol=symbol,
        side={"LONG": 1, "SHORT": -1}[side],
        qty=qty,
        entry_px=entry_px,
        entry_atr=atr,
        confidence=confidence,
        leverage=leverage,
        margin_usd=qty * entry_px / leverage if margin is None else margin,
        trailing_px=trailing,
        tp1_taken=tp1_taken,
    )


#: Long 10 at 100 with an entry ATR of 1: the stop is at 98.
LONG = holding("LONG", 10.0, 100.0)
#: Short 10 at 100: the stop is at 102.
SHORT = holding("SHORT", 10.0, 100.0)


def only(**switches: str) -> Semantics:
    """The reference's semantics with the switches given."""
    return parse_semantics(",".join(["reference", *(f"{k}={v}" for k, v in switches.items())]))


def play(
    main: Tables,
    semantics: Semantics,
    *,
    held: Sequence[InitPosition] = (),
    config: Mapping[str, Any] | None = None,
    base: Mapping[str, Any] = QUIET,
    interval: str = "1h",
    exits: Tables | None = None,
    exit_interval: str = "30m",
    entries: Tables | None = None,
    entry_interval: str = "30m",
    funding: Tables | None = None,
    start: str | None = None,
    end: str | None = None,
    lookback: int = 0,
    balance: float = 10_000.0,
    traded: Sequence[str] | None = None,
) -> Played:
    """Run a table. config: changes of `base`."""
    inputs = inputs_of(
        main,
        held=held,
        interval=interval,
        exits=exits,
        exit_interval=exit_interval,
        entries=entries,
        entry_interval=entry_interval,
        funding=funding,
        start=start,
        end=end,
        lookback=lookback,
        balance=balance,
        traded=traded,
    )
    known = dict(base) | dict(config or {})
    assert known.keys() == DEFAULTS.keys(), known.keys() - DEFAULTS.keys()
    return Played(replay(inputs, SymbolConfigs(known), semantics), inputs)


def inputs_of(
    main: Tables,
    *,
    held: Sequence[InitPosition] = (),
    interval: str = "1h",
    exits: Tables | None = None,
    exit_interval: str = "30m",
    entries: Tables | None = None,
    entry_interval: str = "30m",
    funding: Tables | None = None,
    start: str | None = None,
    end: str | None = None,
    lookback: int = 0,
    balance: float = 10_000.0,
    traded: Sequence[str] | None = None,
) -> ReplayInputs:
    """What a table is to a replay."""
    return ReplayInputs(
        candles=candles(main, interval),
        exit_candles=None if exits is None else candles(exits, exit_interval),
        entry_candles=None if entries is None else candles(entries, entry_interval),
        funding=None if funding is None else _funding(funding),
        from_ms=None if start is None else ms(start),
        to_ms=None if end is None else ms(end),
        initial_balance_usd=balance,
        lookback=lookback,
        init_state=InitState(1, "a table", FIRST_MS, balance, tuple(held)) if held else None,
        traded=None if traded is None else frozenset(traded),
    )


def check_trades(played: Played, expected: str) -> None:
    """The log is what the table says, row by row, in the columns the table has."""
    _check(expected, played.trades)


def check_equity(played: Played, expected: str) -> None:
    """The curve is what the table says."""
    _check(expected, played.equity)


def _check(expected: str, found: list[dict[str, Any]]) -> None:
    rows = _rows(expected)
    for row in rows:
        _check_arithmetic(row)
    wanted = [{name: _cell(cell) for name, cell in row.items() if name != "#"} for row in rows]
    names = re.split(r"\s{2,}", expected.strip().splitlines()[0].strip())
    shown = [{name: row[name] for name in names} for row in found]
    assert [{k: v for k, v in row.items() if isinstance(v, str)} for row in shown] == [
        {k: v for k, v in row.items() if isinstance(v, str)} for row in wanted
    ], shown
    for mine, theirs in zip(shown, wanted, strict=True):
        numbers = {name: value for name, value in theirs.items() if not isinstance(value, str)}
        assert {name: mine[name] for name in numbers} == pytest.approx(
            numbers, rel=1e-12, abs=1e-11
        ), mine


def _cell(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _check_arithmetic(row: Mapping[str, str]) -> None:
    """Every expression behind `#` gives a number of the row."""
    names = {"p": float(row.get("price", 0.0)), "q": float(row.get("qty", 0.0))}
    numbers = [float(cell) for name, cell in row.items() if name != "#" and _is_number(cell)]
    for expression in filter(None, (part.strip() for part in row["#"].split(";"))):
        value = eval(expression, {"__builtins__": {}}, names)
        near = [n for n in numbers if n == pytest.approx(value, rel=1e-12, abs=1e-11)]
        assert near, f"{expression} = {value!r} is no number of {row}"


def _is_number(text: str) -> bool:
    return isinstance(_cell(text), float)


def _rows(table: str) -> list[dict[str, str]]:
    """Header and rows of a table; cells are apart by two spaces or more, `#` holds the comment of the row."""
    lines = [line.strip() for line in table.strip().splitlines()]
    header = re.split(r"\s{2,}", lines[0])
    found = []
    for line in filter(None, lines[1:]):
        if line.startswith("#"):
            found[-1]["#"] += ";" + line[1:]
            continue
        cells, *comment = re.split(r"\s{2,}#\s", line, maxsplit=1)
        row = dict(zip(header, re.split(r"\s{2,}", cells), strict=True))
        found.append(row | {"#": "".join(comment)})
    return found


def ms(text: str) -> int:
    """Epoch ms of `h:mm`."""
    hours, minutes = text.split(":")
    return FIRST_MS + (int(hours) * 60 + int(minutes)) * MINUTE_MS


def at(time_ms: int) -> str:
    """`h:mm` of epoch ms."""
    minutes, rest = divmod(time_ms - FIRST_MS, MINUTE_MS)
    assert rest == 0
    return f"{minutes // 60}:{minutes % 60:02}"


def candles(tables: Tables, interval: str) -> Candles:
    """Bars of each symbol: columns t o h l c and perhaps v; `0:00..5:00` is the same bar again and again."""
    by_symbol = {SYMBOL: tables} if isinstance(tables, str) else dict(tables)
    step_ms = INTERVALS[interval] * MINUTE_MS
    bars: list[list[tuple[float, ...]]] = []
    for symbol in sorted(by_symbol):
        found: list[tuple[float, ...]] = []
        for row in _rows(by_symbol[symbol]):
            first, _, last = row["t"].partition("..")
            prices = [float(row[name]) for name in "ohlc"]
            open_px, high, low, close = prices
            assert low <= min(open_px, close) <= max(open_px, close) <= high, row
            for open_ms in range(ms(first), ms(last or first) + 1, step_ms):
                found.append((open_ms, *prices, float(row.get("v", 1.0))))
        assert all(a[0] < b[0] for a, b in pairwise(found)), symbol
        bars.append(found)
    flat = [bar for found in bars for bar in found]
    columns = [np.array([bar[i] for bar in flat], dtype=np.float64) for i in range(1, 6)]
    return Candles(
        interval,
        step_ms,
        tuple(sorted(by_symbol)),
        offsets_of([len(found) for found in bars]),
        np.array([bar[0] for bar in flat], dtype=np.int64),
        *columns,
    )


def _funding(tables: Tables) -> FundingRates:
    by_symbol = {SYMBOL: tables} if isinstance(tables, str) else dict(tables)
    rows = [
        [(ms(r["t"]), float(r["rate"])) for r in _rows(by_symbol[s])] for s in sorted(by_symbol)
    ]
    flat = [row for found in rows for row in found]
    return FundingRates(
        tuple(sorted(by_symbol)),
        offsets_of([len(found) for found in rows]),
        np.array([row[0] for row in flat], dtype=np.int64),
        np.array([row[1] for row in flat], dtype=np.float64),
    )


def in_words(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as a strategy file nests and words it, below `global`."""
    tree: dict[str, Any] = {}
    for path, value in config.items():
        words = WORDS.get(BY_PATH[path].kind)
        if words is not None:
            value = {number: word for word, number in words.items()}[value]
        *sections, name = path.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[name] = value
    return tree
