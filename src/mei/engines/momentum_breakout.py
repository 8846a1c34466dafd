"""momentum_breakout over a whole run: the trades and the equity of the learning loop without its learning.

Three stages, each a function of the settings it reads, so that configurations which agree on those can share its
answer: `windows` (what a close is compared with), `signals` (the sides, free of any position), `walk` (positions).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from mei.engines.bind import bind_cpu
from mei.engines.momentum_breakout_market import Market, prepare
from mei.engines.momentum_breakout_state import (
    Start,
    check_continuation,
    continuation_of,
    positions_of,
    start_of,
)
from mei.model.bars import FloatArray, IntArray
from mei.model.errors import ConfigError, OutputError
from mei.model.replay import TRADE_DTYPE, ReplayInputs, ReplayResult
from mei.model.settings import Costs, EntryFill
from mei.model.typed_settings import merged_over
from mei.rules.momentum_breakout import portfolio
from mei.rules.momentum_breakout import signals as signal_rules
from mei.rules.momentum_breakout import windows as window_rules
from mei.rules.momentum_breakout.records import ACCOUNT_DTYPE, TERMS_DTYPE, RecordArray
from mei.rules.momentum_breakout.settings import (
    CHANNEL,
    DEFAULTS,
    NAME,
    check_lookback,
    check_settings,
)
from mei.rules.momentum_breakout.signals import SideArray

#: Settings each stage reads; those of `UNUSED` are for the loop, which has a model and a window of bounded length.
WINDOW_SETTINGS = ("signal", "lookback")
SIGNAL_SETTINGS = ("breakout_bps", "breakout_z", "allow_short")
WALK_SETTINGS = (
    "max_hold_bars",
    "stop_bps",
    "take_profit_bps",
    "notional_usd",
    "allocation_frac",
)
UNUSED = ("regimes", "min_regime_prob", "max_lookback")

_FIRST_CAPACITY = 65_536


class WindowKey(NamedTuple):
    """What the first stage depends on."""

    signal: str
    lookback: int


class SignalKey(NamedTuple):
    """What the second stage depends on. threshold: `breakout_bps` of a channel, `breakout_z` of a z-score."""

    window: WindowKey
    threshold: float
    allow_short: bool


@dataclass(frozen=True, slots=True)
class Windows:
    """For each bar in the order of `Market.close`: (highest, lowest) before it, or (z, z); NaN = not defined."""

    key: WindowKey
    upper: FloatArray
    lower: FloatArray


@dataclass(frozen=True, slots=True)
class Signals:
    """sides: 1, -1 or 0 for each bar in the order of events. candidates: steps that have any, ascending.

    gates: bars from the first step that may trade on, and how many of them have a signal of each side.
    """

    sides: SideArray
    candidates: IntArray
    gates: Mapping[str, int]

    @property
    def n_in_window(self) -> int:
        """Signals from the first step that may trade on."""
        return self.gates["buy_count"] + self.gates["sell_count"]


@dataclass(frozen=True, slots=True)
class Walked:
    """trades: TRADE_DTYPE; curve: equity of each step that may trade; books and account as they stand at the end."""

    trades: Any
    curve: FloatArray
    books: RecordArray
    account: RecordArray


def replay(
    inputs: ReplayInputs,
    params: Mapping[str, Any],
    costs: Costs,
    entry_fill: EntryFill = "next_open",
) -> ReplayResult:
    """Trade the candles with one account and one book a symbol (ascending), as the learning loop does.

    params: settings of the strategy over its defaults; an error names the wrong one (ConfigError). Bars known before
    `from_ms` only feed the signals; nothing is closed at the end, so the final balance is cash and the open
    positions, marked. Of `inputs`, `lookback` is not read: the signal has a warm-up of its own. A trade's detail_1 is
    its price before slippage, detail_2 the bars held, margin_usd the notional decided at the entry.
    """
    settings = checked_settings(params)
    check_inputs(inputs)
    check_continuation(inputs)
    market = prepare(inputs, settings["lookback"])
    start = start_of(inputs, market, settings)
    found = signals(market, windows(market, window_key(settings)), signal_key(settings))
    walked = walk(market, found, terms_of(settings, costs, entry_fill), start)
    if not np.isfinite(walked.curve).all():
        raise OutputError(
            "equity must hold finite numbers, found one that is not: check candles and order sizes"
        )
    account = walked.account[0]
    peak_usd = None if inputs.init_state is None else inputs.init_state.peak_usd
    lookback = settings["lookback"]
    return ReplayResult(
        symbols=market.symbols,
        initial_balance_usd=start.equity_usd,
        final_balance_usd=float(walked.curve[-1]) if len(walked.curve) else start.equity_usd,
        trades=walked.trades,
        equity_ms=market.bars.known_ms[market.first_step :],
        equity_usd=walked.curve,
        n_signals=found.n_in_window,
        gates={**found.gates, "refused_without_equity": int(account["n_refused"])},
        continuation=continuation_of(
            market, walked.books, account, lookback, walked.curve, peak_usd
        ),
        left_usd=float(account["cash_usd"]),
        left_positions=positions_of(market, walked.books),
        peak_usd=peak_usd,
    )


def checked_settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults with `params` over them. Raises ConfigError naming the key, with what was meant if that is near."""
    settings = merged_over(DEFAULTS, params, owner=NAME)
    check_settings(settings)
    check_lookback(settings["lookback"], settings["max_lookback"])
    if settings["lookback"] < 2:
        raise ConfigError(f"{NAME}.lookback must be >= 2, was {settings['lookback']}")
    if len(settings["regimes"]):
        raise ConfigError(
            f"{NAME}.regimes must be empty in a replay, where no model names regimes, was "
            f"{list(settings['regimes'])}: set regimes: [], or use mei-backtester loop"
        )
    if not (settings["notional_usd"] or settings["allocation_frac"]):
        raise ConfigError(f"{NAME}.notional_usd or {NAME}.allocation_frac must be > 0, both were 0")
    return settings


def window_key(settings: Mapping[str, Any]) -> WindowKey:
    """What the first stage reads of complete settings."""
    return WindowKey(settings["signal"], int(settings["lookback"]))


def signal_key(settings: Mapping[str, Any]) -> SignalKey:
    """What the second stage reads of complete settings."""
    name = "breakout_bps" if settings["signal"] == CHANNEL else "breakout_z"
    return SignalKey(window_key(settings), float(settings[name]), bool(settings["allow_short"]))


def terms_of(settings: Mapping[str, Any], costs: Costs, entry_fill: EntryFill) -> RecordArray:
    """What the walk reads: one record of TERMS_DTYPE, shape (1,)."""
    terms = np.zeros(1, dtype=TERMS_DTYPE)
    for name in WALK_SETTINGS:
        terms[name] = settings[name]
    terms["fee_bps"], terms["slippage_bps"] = costs.fee_bps, costs.slippage_bps
    terms["fills_at_close"] = int(entry_fill == "signal_close")
    return terms


def windows(market: Market, key: WindowKey) -> Windows:
    """The first stage, symbol by symbol."""
    upper = np.empty(len(market.close))
    lower = upper if key.signal != CHANNEL else np.empty(len(market.close))
    for first, end in zip(market.offsets[:-1], market.offsets[1:], strict=True):
        rows = slice(int(first), int(end))
        if key.signal == CHANNEL:
            scratch, negated = np.empty(end - first), np.empty(end - first)
            highest = bind_cpu(window_rules.highest_before)
            highest(market.high[rows], key.lookback, scratch, upper[rows])
            np.negative(market.low[rows], out=negated)
            highest(negated, key.lookback, scratch, lower[rows])
            np.negative(lower[rows], out=lower[rows])
        else:
            means, squares = np.empty((2, window_rules.CHUNK_BARS))
            z_scores = bind_cpu(window_rules.z_scores)
            z_scores(market.close[rows], key.lookback, means, squares, upper[rows])
    return Windows(key, upper, lower)


def signals(market: Market, found: Windows, key: SignalKey) -> Signals:
    """The second stage; `found` must be that of `key.window`."""
    if found.key != key.window:
        raise ConfigError(
            f"signals of {key.window} must be given its windows, not those of {found.key}"
        )
    sides = np.empty(len(market.close), dtype=np.int8)
    if key.window.signal == CHANNEL:
        rule = bind_cpu(signal_rules.channel_sides)
        rule(market.close, found.upper, found.lower, key.threshold, key.allow_short, sides)
    else:
        rule = bind_cpu(signal_rules.zscore_sides)
        rule(found.upper, key.threshold, key.allow_short, sides)
    in_order = market.in_order(sides)
    rows = np.flatnonzero(in_order)
    starts = market.bars.starts
    candidates = rows
    if len(market.symbols) > 1:
        candidates = np.unique(np.searchsorted(starts, rows, side="right") - 1)
    in_window = in_order[starts[market.first_step] :]
    gates = {
        "total_checks": len(in_window),
        "buy_count": int(np.count_nonzero(in_window > 0)),
        "sell_count": int(np.count_nonzero(in_window < 0)),
    }
    return Signals(in_order, candidates.astype(np.int64, copy=False), gates)


def walk(
    market: Market,
    found: Signals,
    terms: RecordArray,
    start: Start,
    *,
    capacity: int = _FIRST_CAPACITY,
) -> Walked:
    """The third stage, from `start` over all steps that may trade.

    capacity: trades to make room for at first; should there be more, the walk is taken again with room for all.
    """
    rule = bind_cpu(portfolio.walk)
    curve = np.empty(len(market.bars.known_ms) - market.first_step)
    while True:
        books = start.books.copy()
        account = np.zeros(1, dtype=ACCOUNT_DTYPE)
        account[0] = start.account[0]
        trades = np.zeros(capacity, dtype=TRADE_DTYPE)
        rule(
            market.bars,
            found.sides,
            found.candidates,
            market.first_step,
            terms,
            books,
            account,
            trades,
            curve,
        )
        n_trades = int(account[0]["n_trades"])
        if n_trades <= capacity:
            return Walked(trades[:n_trades].copy(), curve, books, account)
        capacity = n_trades


def check_inputs(inputs: ReplayInputs) -> None:
    """Refuse what the strategy has no use for, rather than leave it out in silence."""
    given = {
        "exit candles": inputs.exit_candles,
        "entry candles": inputs.entry_candles,
        "funding rates": inputs.funding,
    }
    for name, content in given.items():
        if content is not None:
            raise ConfigError(
                f"{NAME} must be replayed without {name}: it trades bars of one length, as in the loop"
            )
    if inputs.candles.interval_ms <= 0:
        raise ConfigError(
            f"{NAME} needs candles of a known length such as 1m, the interval was {inputs.candles.interval!r}"
        )
