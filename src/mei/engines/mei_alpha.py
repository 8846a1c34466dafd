"""Mei Alpha over whole histories: three stages, each computed once for each distinct record it reads.

1. `indicators_of`: columns of every main bar (windows). 2. `screen`: candidates (gates, signals, filters).
3. `replay`'s walk: positions, orders, money (risk). A stage is given its own record and no other, so what it depends on is what
its key is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mei.engines.bind import bind_cpu
from mei.engines.mei_alpha_market import Market, prepare
from mei.engines.mei_alpha_state import continuation_of, first_state, is_btc
from mei.model.bars import FloatArray, IntArray
from mei.model.candles import Candles
from mei.model.errors import ConfigError, DataError
from mei.model.replay import ReplayInputs, ReplayResult
from mei.model.semantics import REFERENCE, Semantics
from mei.rules.mei_alpha.columns import Extras, fill_symbol
from mei.rules.mei_alpha.indicators import INDICATOR_STATE_DTYPE
from mei.rules.mei_alpha.records import (
    CANDIDATE_DTYPE,
    GATES,
    indicators_record,
    ready_bars,
    risk_record,
    screen_record,
    switches_record,
)
from mei.rules.mei_alpha.screen import (
    Scene,
    fill_breadth,
    fill_btc,
    screen_entry_bars,
    screen_main_bars,
)
from mei.rules.mei_alpha.snapshot import Columns
from mei.rules.mei_alpha.steps import sort_by_step
from mei.rules.mei_alpha.walk import finish, walk
from mei.rules.mei_alpha.world import Candidates, State, World

Config = Mapping[str, Any]

_WINDOWS = (
    "indicators.bb_window",
    "indicators.bb_width_avg_window",
    "indicators.vol_sma_window",
    "indicators.vol_trend_window",
    "indicators.ema_slow_window",
    "indicators.ema_fast_window",
    "indicators.ema_macro_window",
    "indicators.atr_window",
    "indicators.adx_window",
    "indicators.rsi_window",
    "indicators.stoch_rsi_window",
    "indicators.stoch_rsi_smooth1",
    "indicators.stoch_rsi_smooth2",
    "thresholds.entry.ave_avg_atr_window",
    "thresholds.entry.slow_drift_slope_window",
)
#: Trades the log holds at first; it grows by running again.
_FIRST_LOG = 4096
_SLOPE = "thresholds.entry.slow_drift_slope_window"
_STOCHASTIC = ("stoch_rsi_window", "stoch_rsi_smooth1", "stoch_rsi_smooth2")


@dataclass(frozen=True, slots=True)
class SymbolConfigs:
    """portfolio: the configuration without symbol layers; by_symbol: symbols that have one of their own."""

    portfolio: Config
    by_symbol: Mapping[str, Config] = field(default_factory=dict)

    def of(self, symbol: str) -> Config:
        """The configuration of a symbol."""
        return self.by_symbol.get(symbol, self.portfolio)

    def distinct(self, symbols: tuple[str, ...]) -> tuple[list[Config], IntArray]:
        """The portfolio's configuration and those of symbols, and which one is each symbol's."""
        found = [self.portfolio]
        which = np.zeros(len(symbols), dtype=np.int64)
        for i, name in enumerate(symbols):
            config = self.of(name)
            if config is not self.portfolio:
                which[i] = len(found)
                found.append(config)
        return found, which


@dataclass(frozen=True, slots=True)
class Indicators:
    """Stage 1: columns of all main bars, and what the recursions need to go on."""

    columns: Columns
    states: Any


@dataclass(frozen=True, slots=True)
class Screened:
    """Stage 2: candidates by step, the counters of the gates and the number of signals."""

    candidates: Candidates
    gates: dict[str, int]
    n_signals: int


def replay(inputs: ReplayInputs, configs: SymbolConfigs, semantics: Semantics) -> ReplayResult:
    """Run Mei Alpha over the inputs.

    Raises ConfigError for windows and bounds no run can be made with, DataError when there is no bar.
    """
    check_configs(configs)
    market = prepare(inputs, semantics)
    if market.n_walked == 0 or market.first_walked >= market.n_walked:
        raise_without_bars(inputs)
    found = indicators_of(market, configs)
    screened = screen(market, found, configs, semantics, inputs.lookback)
    return walk_market(market, found, screened, configs, semantics, inputs)


def raise_without_bars(inputs: ReplayInputs) -> None:
    """There is nothing to run over."""
    if inputs.candles.n_rows == 0:
        raise DataError("a replay needs at least one candle, the set is empty")


def check_configs(configs: SymbolConfigs) -> None:
    """Windows of zero and bounds that cross stop a run before it starts (the reference aborts in the middle)."""
    for config in (configs.portfolio, *configs.by_symbol.values()):
        for path in _WINDOWS:
            is_used = config["filters.use_stoch_rsi_filter"] or not path.endswith(_STOCHASTIC)
            if config[path] < 1 and is_used:
                raise ConfigError(
                    f"{path} must be at least 1 bar, was {config[path]}: a window of zero bars"
                )
        if not config["trade.enable_dynamic_sizing"]:
            continue
        low, high = config["trade.vol_scalar_min"], config["trade.vol_scalar_max"]
        if low > high:
            raise ConfigError(
                f"trade.vol_scalar_min must not exceed trade.vol_scalar_max, was {low} > {high}"
            )
        if config["trade.adx_sizing_min_mult"] > 1.0:
            was = config["trade.adx_sizing_min_mult"]
            raise ConfigError(f"trade.adx_sizing_min_mult must not exceed 1, was {was}")


def indicators_of(market: Market, configs: SymbolConfigs) -> Indicators:
    """Stage 1 for every symbol, each with its own windows."""
    n_rows = len(market.main.close)
    columns = Columns(*(np.empty(n_rows) for _ in Columns._fields))
    longest = int(np.max(market.main.end - market.main.first, initial=0))
    extras = Extras(*(np.empty(longest) for _ in Extras._fields))
    states = np.zeros(len(market.symbols), dtype=INDICATOR_STATE_DTYPE)
    fill = bind_cpu(fill_symbol)
    records = {id(configs.portfolio): indicators_record(configs.portfolio)}
    for number, name in enumerate(market.symbols):
        config = configs.of(name)
        if id(config) not in records:
            records[id(config)] = indicators_record(config)
        fill(market.main, columns, extras, number, 0, records[id(config)][0], states)
    return Indicators(columns, states)


def scene_of(market: Market, found: Indicators, semantics: Semantics) -> Scene:
    """BTC direction and breadth of every step (D.1); symbols that may not be traded count only with context = universe."""
    symbols = market.symbols
    n_steps = len(market.step_ms)
    breadth = np.empty(n_steps)
    scratch = [np.zeros(n_steps + 1, dtype=np.int64) for _ in range(2)]
    columns = found.columns
    bind_cpu(fill_breadth)(
        market.main, columns, market.step_of_row, len(symbols), *scratch, breadth
    )
    btc = np.empty(n_steps, dtype=np.int64)
    names = [name for name in ("BTC", "BTCUSDT") if name in symbols]
    if semantics.btc_symbol == "base":
        names += [name for name in symbols if is_btc(name) and name not in names]
        names = names[:1]
    sources = [symbols.index(name) for name in names] + [-1, -1]
    bind_cpu(fill_btc)(market.main, columns, market.step_of_row, sources[0], sources[1], btc)
    return Scene(market.step_ms, market.step_of_row, btc, breadth, market.from_ms, market.to_ms)


def screen(
    market: Market,
    found: Indicators,
    configs: SymbolConfigs,
    semantics: Semantics,
    lookback: int,
) -> Screened:
    """Stage 2 for every symbol."""
    scene = scene_of(market, found, semantics)
    size = max(1024, len(market.main.close) // 4)
    while True:
        rows = np.empty(size, dtype=CANDIDATE_DTYPE)
        gates = np.zeros(len(GATES), dtype=np.int64)
        n_found = 0
        for number, name in enumerate(market.symbols):
            config = configs.of(name)
            n_found = bind_cpu(screen_main_bars)(
                market.main,
                found.columns,
                scene,
                number,
                _is_exempt(name, semantics),
                needed_bars(config, lookback, semantics),
                bool(market.is_traded[number]),
                not market.has_entries,
                screen_record(config)[0],
                gates,
                rows,
                n_found,
            )
        if n_found <= size:
            break
        size = n_found
    main, main_first = _by_step(rows, n_found, scene.step_of_row[rows["row"][:n_found]], market)
    ticks, ticks_first = _screen_entries(market, found, scene, configs, semantics, lookback)
    counted = {name: int(count) for name, count in zip(GATES, gates, strict=True)}
    n_signals = counted["buy_count"] + counted["sell_count"]
    return Screened(Candidates(main, main_first, ticks, ticks_first), counted, n_signals)


def _is_exempt(symbol: str, semantics: Semantics) -> bool:
    return symbol.upper() == "BTC" or (semantics.btc_symbol == "base" and is_btc(symbol))


def needed_bars(config: Config, lookback: int, semantics: Semantics) -> int:
    """Bars a symbol needs before it may be entered."""
    return max(lookback, ready_bars(config)) if semantics.warm_up == "ready" else lookback


def _by_step(rows: Any, n_found: int, steps: IntArray, market: Market) -> tuple[Any, IntArray]:
    first = np.zeros(len(market.step_ms) + 2, dtype=np.int64)
    ordered = np.empty(n_found, dtype=CANDIDATE_DTYPE)
    bind_cpu(sort_by_step)(rows, n_found, np.ascontiguousarray(steps), first, ordered)
    return ordered, first


def _screen_entries(
    market: Market,
    found: Indicators,
    scene: Scene,
    configs: SymbolConfigs,
    semantics: Semantics,
    lookback: int,
) -> tuple[Any, IntArray]:
    size = max(1024, len(market.entries.close) // 8) if market.has_entries else 1
    while True:
        rows = np.empty(size, dtype=CANDIDATE_DTYPE)
        steps = np.zeros(size, dtype=np.int64)
        n_found = 0
        for number, name in enumerate(market.symbols):
            if not (market.has_entries and market.is_traded[number]):
                continue
            config = configs.of(name)
            n_found = bind_cpu(screen_entry_bars)(
                market.main,
                found.columns,
                market.entries,
                scene,
                number,
                _is_exempt(name, semantics),
                needed_bars(config, lookback, semantics),
                screen_record(config)[0],
                rows,
                steps,
                n_found,
            )
        if n_found <= size:
            break
        size = n_found
    order = np.argsort(rows["known_ms"][:n_found], kind="stable")
    return _by_step(rows[order], n_found, steps[order], market)


def world_of(
    market: Market, found: Indicators, configs: SymbolConfigs, semantics: Semantics
) -> World:
    """What the walk reads, for one set of configurations."""
    distinct, which = configs.distinct(market.symbols)
    waits = semantics.warm_up == "ready"
    exit_bars = [ready_bars(configs.of(name)) if waits else 0 for name in market.symbols]
    return World(
        main=market.main,
        exits=market.exits,
        entries=market.entries,
        columns=found.columns,
        step_ms=market.step_ms[: market.n_walked],
        step_of_row=market.step_of_row,
        funding_first=market.funding_first,
        funding_end=market.funding_end,
        funding_ms=market.funding_ms,
        funding_rate=market.funding_rate,
        risk=np.concatenate([risk_record(config) for config in distinct]),
        risk_of=which,
        exit_bars=np.array(exit_bars, dtype=np.int64),
        is_gold=np.array([name.upper() == "PAXG" for name in market.symbols], dtype=np.bool_),
        switches=switches_record(semantics),
        from_ms=market.from_ms,
        to_ms=market.to_ms,
        has_exits=market.has_exits,
        has_entries=market.has_entries,
        has_funding=market.has_funding,
    )


def walk_market(
    market: Market,
    found: Indicators,
    screened: Screened,
    configs: SymbolConfigs,
    semantics: Semantics,
    inputs: ReplayInputs,
) -> ReplayResult:
    """Stage 3: the walk, run again with a longer log when the trades did not fit."""
    world = world_of(market, found, configs, semantics)
    n_log = _FIRST_LOG
    while True:
        state = first_state(market, inputs, n_log, semantics)
        bind_cpu(walk)(world, screened.candidates, state, 0, market.n_walked)
        continuation = continuation_of(market, found, state)
        balance_before_usd = float(state.account["balance_usd"][0])
        if market.n_walked:
            bind_cpu(finish)(world, state, market.n_walked - 1)
        n_trades = int(state.account["n_trades"][0])
        if n_trades <= n_log:
            break
        n_log = n_trades
    del balance_before_usd
    return _result(market, screened, state, n_trades, continuation, semantics, inputs)


def _result(
    market: Market,
    screened: Screened,
    state: State,
    n_trades: int,
    continuation: Mapping[str, Any],
    semantics: Semantics,
    inputs: ReplayInputs,
) -> ReplayResult:
    account = state.account[0]
    equity_ms, equity_usd = market.step_ms[: market.n_walked], state.equity
    if semantics.run_end == "window":
        equity_ms, equity_usd = equity_ms[market.first_walked :], equity_usd[market.first_walked :]
        if len(equity_ms):
            equity_ms = np.append(equity_ms, equity_ms[-1])
            equity_usd = np.append(equity_usd, account["balance_usd"])
    blocked = {
        name: int(account[name]) for name in account.dtype.names if name.startswith("blocked_by_")
    }
    started_usd = inputs.initial_balance_usd
    if inputs.init_state is not None:
        started_usd = inputs.init_state.balance_usd
    return ReplayResult(
        symbols=market.symbols,
        initial_balance_usd=started_usd,
        final_balance_usd=float(account["balance_usd"]),
        trades=state.log[:n_trades],
        equity_ms=equity_ms,
        equity_usd=equity_usd,
        n_signals=screened.n_signals,
        gates={**screened.gates, **blocked},
        continuation=continuation,
    )


def indicators(candles: Candles, symbol: str, config: Config) -> dict[str, FloatArray]:
    """Every indicator of one symbol, one value a bar, by the names of the specification.

    Raises DataError when the symbol has no bars.
    """
    rows = candles.rows_of(symbol)
    if rows.start == rows.stop:
        raise DataError(f"symbol {symbol!r} must have candles, has none")
    configs = SymbolConfigs(config)
    check_configs(configs)
    market = prepare(ReplayInputs(candles.restricted_to([symbol])), REFERENCE)
    n_rows = rows.stop - rows.start
    columns = Columns(*(np.empty(n_rows) for _ in Columns._fields))
    extras = Extras(*(np.empty(n_rows) for _ in Extras._fields))
    states = np.zeros(1, dtype=INDICATOR_STATE_DTYPE)
    bind_cpu(fill_symbol)(market.main, columns, extras, 0, 0, indicators_record(config)[0], states)
    named = {"open_ms": market.main.open_ms, "close": market.main.close}
    named |= {**columns._asdict(), **extras._asdict()}
    named["vol_trend"] = (columns.vol_short > columns.vol_sma).astype(np.float64)
    return named
