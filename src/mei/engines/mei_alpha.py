"""Mei Alpha over whole histories: three stages, each computed once for each distinct record it reads.

1. `indicators_of`: indicators of every main bar (windows). 2. `screen`: candidates (gates, signals, filters).
3. `walk_market`: positions, orders, money (risk). A stage is given its own record and no other, so what it depends
on is what its key is made of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from mei.engines.bind import bind_cpu
from mei.engines.mei_alpha_continuation import (
    check_windows,
    continuation_of,
    curve_of,
    cut_at_end,
    positions_of,
    read_past,
    resume,
    take_bank,
    with_past,
)
from mei.engines.mei_alpha_market import Market, prepare
from mei.engines.mei_alpha_signals import MeiAlphaResult, signals_of
from mei.engines.mei_alpha_state import btc_sources, first_state, is_btc_exempt
from mei.model.bars import FloatArray
from mei.model.candles import Candles
from mei.model.errors import ConfigError, DataError
from mei.model.replay import ReplayInputs
from mei.model.semantics import Semantics
from mei.rules.mei_alpha.columns import BANK, N_COLUMNS, fill_bank, fill_symbol, longest_window
from mei.rules.mei_alpha.indicators import INDICATOR_STATE_DTYPE
from mei.rules.mei_alpha.records import (
    CANDIDATE_DTYPE,
    GATES,
    INDICATOR_ROW_DTYPE,
    indicators_record,
    ready_bars,
    risk_record,
    screen_record,
)
from mei.rules.mei_alpha.screen import (
    fill_breadth,
    fill_btc,
    order_candidates,
    screen_entry_bars,
    screen_main_bars,
)
from mei.rules.mei_alpha.walk import finish, walk
from mei.rules.mei_alpha.world import State, World

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
#: What `check_configs` reads.
CHECKED = frozenset(
    (
        *_WINDOWS,
        "filters.use_stoch_rsi_filter",
        "trade.enable_dynamic_sizing",
        "trade.vol_scalar_min",
        "trade.vol_scalar_max",
        "trade.adx_sizing_min_mult",
    )
)
#: Bars a bank takes at a time: what one indicator leaves in the cache the next one reads there.
_BANK_BARS = 1024
#: A thread is worth its start from so many main bars on.
_BARS_A_THREAD = 20_000
#: Shares of the bars for each thread: cores are not equally fast, nor equally free.
_SHARES_A_THREAD = 4
#: Candidates there is room for at first, and no less than for every fourth bar; it grows by screening again.
_FIRST_CANDIDATES = 1024
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


@dataclass(frozen=True, slots=True)
class Indicators:
    """Stage 1: INDICATOR_ROW_DTYPE of all main bars; banks and states of each symbol at the end of its bars."""

    rows: Any
    banks: list[FloatArray]
    states: Any


@dataclass(frozen=True, slots=True)
class Screened:
    """Stage 2: candidates of main bars and sub-bars in the order of `steps`, gate counters by name, number of
    signals."""

    candidates: Any
    ticks: Any
    steps: Any
    gates: dict[str, int]
    n_signals: int


class _Stretch(NamedTuple):
    """Main bars `first` to `end - 1` of symbol number `symbol`."""

    symbol: int
    first: int
    end: int


def replay(
    inputs: ReplayInputs, configs: SymbolConfigs, semantics: Semantics, n_threads: int = 1
) -> MeiAlphaResult:
    """Run Mei Alpha over the inputs; stages 1 and 2 on at most `n_threads` threads, which change no bit of it.

    Raises ConfigError for windows and bounds no run can be made with, DataError when there is no bar.
    """
    check_configs(configs)
    if inputs.candles.n_rows == 0:
        raise DataError("a replay needs at least one candle, the set is empty")
    past = read_past(inputs, semantics)
    if past is not None:
        check_windows(past, windows_of(configs, inputs.candles.symbols))
        inputs = with_past(inputs, past)
    if inputs.exports_state and semantics.run_end == "window":
        inputs = cut_at_end(inputs, semantics)
    market = prepare(inputs, semantics, past)
    found = indicators_of(market, configs, n_threads)
    screened = screen(market, found, configs, semantics, inputs.lookback, n_threads)
    return walk_market(market, found, screened, configs, inputs, semantics)


def made_of(
    configs: SymbolConfigs, names: Sequence[str], make: Callable[[Config], Any]
) -> list[Any]:
    """What `make` makes of each symbol's configuration, once where symbols share one."""
    made: dict[int, Any] = {}
    each = [configs.of(name) for name in names]
    for config in each:
        if id(config) not in made:
            made[id(config)] = make(config)
    return [made[id(config)] for config in each]


def windows_of(configs: SymbolConfigs, names: Sequence[str]) -> dict[str, Any]:
    """Each symbol's record of INDICATORS_DTYPE."""
    records = made_of(configs, names, indicators_record)
    return {name: record[0] for name, record in zip(names, records, strict=True)}


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


def indicators_of(market: Market, configs: SymbolConfigs, n_threads: int = 1) -> Indicators:
    """Stage 1 for every symbol, each with its own windows; symbols side by side."""
    rows = np.empty(len(market.main), dtype=INDICATOR_ROW_DTYPE)
    states = np.zeros(len(market.names), dtype=INDICATOR_STATE_DTYPE)
    fill = bind_cpu(fill_symbol)
    each = windows_of(configs, market.names)

    def bank_of(number: int) -> FloatArray:
        name = market.names[number]
        windows = each[name]
        n_past = int(longest_window(windows))
        whole = np.zeros((N_COLUMNS, n_past + _BANK_BARS))
        whose = market.symbols[number]
        first, start, end = int(whose["first"]), int(whose["first"]), int(whose["end"])
        kept = market.past.symbols.get(name) if market.past is not None else None
        if kept is not None:
            take_bank(kept, name, whole[:, :n_past])
            states[number] = kept.state
            start = first + len(kept.rows)
            rows[first:start] = kept.rows
            first -= kept.n_before
        fill(market.main, rows, whole, n_past, first, start, end, windows, states[number])
        return whole[:, :n_past].copy()

    n_threads = _worth(n_threads, len(market.main))
    if n_threads > 1:
        # No bar: compiled here and now, where an interrupt is heard, not in every thread.
        some = each[market.names[0]]
        fill(market.main, rows, np.zeros((N_COLUMNS, 2)), 1, 0, 0, 0, some, states[0])
    return Indicators(rows, _side_by_side(bank_of, range(len(market.names)), n_threads), states)


def screen(
    market: Market,
    found: Indicators,
    configs: SymbolConfigs,
    semantics: Semantics,
    lookback: int,
    n_threads: int = 1,
) -> Screened:
    """Stage 2 for every symbol that may be traded; stretches of bars side by side."""
    symbols, steps = market.symbols.copy(), market.steps.copy()
    needed = made_of(configs, market.names, ready_bars)
    waits = semantics.warm_up == "ready"
    for number, name in enumerate(market.names):
        symbols["entry_bars"][number] = max(lookback, needed[number] if waits else 0)
        symbols["is_btc_exempt"][number] = is_btc_exempt(name, semantics)
    set_scene(market, found, semantics, steps)
    records = made_of(configs, market.names, screen_record)
    screens = {
        number: record[0]
        for number, record in enumerate(records)
        if market.symbols["is_traded"][number]
    }

    def screened(share: Sequence[_Stretch]) -> tuple[Any, Any]:
        return _screen_share(market, found.rows, steps, symbols, screens, share)

    n_threads = _worth(n_threads, len(market.main))
    if n_threads > 1:
        # As above.
        screened([_Stretch(number, 0, 0) for number in list(screens)[:1]])
    parts = _side_by_side(screened, _shares(symbols, list(screens), n_threads), n_threads)
    gates = sum((part[1] for part in parts), np.zeros(len(GATES), dtype=np.int64))
    none = np.empty(0, dtype=CANDIDATE_DTYPE)
    candidates = parts[0][0] if len(parts) == 1 else np.concatenate([none, *(p[0] for p in parts)])
    candidates = _in_order(candidates, len(candidates), steps, "first_candidate")
    ticks = _screen_entries(market, found.rows, steps, symbols, screens)
    counted = {name: int(count) for name, count in zip(GATES, gates, strict=True)}
    n_signals = counted["buy_count"] + counted["sell_count"]
    return Screened(candidates, ticks, steps, counted, n_signals)


def _worth(n_threads: int, n_bars: int) -> int:
    """As many threads as have enough to do."""
    return max(1, min(n_threads, n_bars // _BARS_A_THREAD))


def _side_by_side(work: Callable[[Any], Any], things: Sequence[Any], n_threads: int) -> list[Any]:
    """What `work` makes of each thing, in their order."""
    if n_threads == 1:
        return [work(thing) for thing in things]
    with ThreadPoolExecutor(n_threads) as pool:
        return list(pool.map(work, things))


def _shares(symbols: Any, numbers: Sequence[int], n_threads: int) -> list[list[_Stretch]]:
    """The bars of some symbols in their order, cut into shares of about equal size, one if there is one thread."""
    n_bars = int(sum(symbols["end"][number] - symbols["first"][number] for number in numbers))
    room = n_bars if n_threads == 1 else -(-n_bars // (n_threads * _SHARES_A_THREAD))
    shares: list[list[_Stretch]] = [[]]
    left = room
    for number in numbers:
        at, end = int(symbols["first"][number]), int(symbols["end"][number])
        while at < end:
            if left == 0:
                shares.append([])
                left = room
            n_taken = min(left, end - at)
            shares[-1].append(_Stretch(number, at, at + n_taken))
            at += n_taken
            left -= n_taken
    return shares


def _screen_share(
    market: Market,
    rows: Any,
    steps: Any,
    symbols: Any,
    screens: Mapping[int, Any],
    share: Sequence[_Stretch],
) -> tuple[Any, Any]:
    """Candidates of a share of the bars, by symbol and time, and its gate counters."""
    own = symbols.copy()
    size = max(_FIRST_CANDIDATES, sum(stretch.end - stretch.first for stretch in share) // 4)
    while True:
        candidates = np.empty(size, dtype=CANDIDATE_DTYPE)
        gates = np.zeros(len(GATES), dtype=np.int64)
        n_found = 0
        for number, first, end in share:
            # A stretch begins where a longer warm-up would have ended.
            n_before = first - symbols["first"][number] + symbols["n_before"][number]
            own["entry_bars"][number] = max(symbols["entry_bars"][number], n_before + 1)
            own["end"][number] = end
            n_found = bind_cpu(screen_main_bars)(
                market.main,
                rows,
                steps,
                own,
                number,
                market.run[0],
                screens[number],
                gates,
                candidates,
                n_found,
            )
        if n_found <= size:
            return candidates[:n_found], gates
        size = n_found


def set_scene(market: Market, found: Indicators, semantics: Semantics, steps: Any) -> None:
    """BTC direction and breadth of every step (D.1); symbols that may not be traded count with context = universe."""
    n_steps = market.n_steps
    counts_all = semantics.context == "universe"
    totals, rising = np.zeros((2, n_steps + 1), dtype=np.int64)
    bind_cpu(fill_breadth)(
        market.main, found.rows, market.symbols, totals, rising, counts_all, steps, n_steps
    )
    traded = market.symbols["is_traded"]
    seen = [name for i, name in enumerate(market.names) if counts_all or traded[i]]
    names = btc_sources(seen, semantics)
    sources = np.array([market.names.index(name) for name in names], dtype=np.int64)
    bind_cpu(fill_btc)(market.main, found.rows, market.symbols, sources, steps, n_steps)


def _in_order(rows: Any, n_found: int, steps: Any, field_name: str) -> Any:
    first = np.zeros(len(steps) + 1, dtype=np.int64)
    ordered = np.empty(n_found, dtype=CANDIDATE_DTYPE)
    bind_cpu(order_candidates)(rows, n_found, first, ordered)
    steps[field_name] = first[:-1]
    return ordered


def _screen_entries(
    market: Market, rows: Any, steps: Any, symbols: Any, screens: Mapping[int, Any]
) -> Any:
    size = max(1024, len(market.entries) // 8)
    while True:
        ticks = np.empty(size, dtype=CANDIDATE_DTYPE)
        n_found = 0
        for number, p in screens.items() if len(market.entries) else ():
            n_found = bind_cpu(screen_entry_bars)(
                market.main,
                rows,
                market.entries,
                steps,
                symbols,
                number,
                market.run[0],
                p,
                market.n_steps,
                ticks,
                n_found,
            )
        if n_found <= size:
            break
        size = n_found
    ticks = ticks[:n_found]
    in_time = ticks[np.argsort(ticks["known_ms"], kind="stable")]
    return _in_order(in_time, n_found, steps, "first_tick")


def world_of(
    market: Market, found: Indicators, screened: Screened, configs: SymbolConfigs
) -> World:
    """What the walk reads, for one set of configurations."""
    symbols = market.symbols.copy()
    risks = [risk_record(configs.portfolio)]
    waits = bool(market.run["warm_up"][0])
    needed = made_of(configs, market.names, ready_bars)
    for number, name in enumerate(market.names):
        config = configs.of(name)
        if config is not configs.portfolio:
            symbols["risk"][number] = len(risks)
            risks.append(risk_record(config))
        symbols["exit_bars"][number] = needed[number] if waits else 0
    return World(
        main=market.main,
        exits=market.exits,
        entries=market.entries,
        indicators=found.rows,
        symbols=symbols,
        risk=np.concatenate(risks),
        steps=screened.steps,
        candidates=screened.candidates,
        ticks=screened.ticks,
        funding=market.funding,
        run=market.run,
    )


def walk_market(
    market: Market,
    found: Indicators,
    screened: Screened,
    configs: SymbolConfigs,
    inputs: ReplayInputs,
    semantics: Semantics,
) -> MeiAlphaResult:
    """Stage 3: the walk, run again with a longer log when the trades did not fit."""
    world = world_of(market, found, screened, configs)
    n_log = _FIRST_LOG
    while True:
        state = first_state(market, inputs, n_log)
        start = 0
        if market.past is not None:
            resume(market, market.past, state)
            start = max(0, market.first_walked - 1)
        # Nothing happens in a window without a step.
        is_empty = market.first_walked == market.n_walked and market.past is None
        has_steps = not (is_empty and market.run["run_end"][0])
        if has_steps:
            bind_cpu(walk)(world, state, start, market.n_walked)
        left: dict[str, Any] = {}
        if inputs.exports_state:
            left["continuation"] = continuation_of(
                market,
                found.rows,
                found.banks,
                found.states,
                state,
                semantics,
                windows_of(configs, market.names),
            )
            left["left_usd"] = float(state.account["balance_usd"][0])
            left["left_positions"] = positions_of(market, state)
            left["signals"] = signals_of(found.rows, screened.candidates, screened.ticks)
        n_left = int(state.account["n_trades"][0])
        if market.n_walked and has_steps:
            bind_cpu(finish)(world, state, market.n_walked - 1)
        n_trades = int(state.account["n_trades"][0])
        if n_trades <= n_log:
            return _result(market, screened, state, inputs, n_ending=n_trades - n_left, **left)
        n_log = n_trades


def _result(
    market: Market,
    screened: Screened,
    state: State,
    inputs: ReplayInputs,
    **ending: Any,
) -> MeiAlphaResult:
    account = state.account[0]
    equity_ms, equity_usd = curve_of(market, state)
    if market.run["run_end"][0] and len(equity_ms):
        equity_ms = np.append(equity_ms, equity_ms[-1])
        equity_usd = np.append(equity_usd, account["balance_usd"])
    blocked = {
        name: int(account[name]) for name in account.dtype.names if name.startswith("blocked_by_")
    }
    started_usd = inputs.initial_balance_usd
    if inputs.init_state is not None:
        started_usd = inputs.init_state.balance_usd
    return MeiAlphaResult(
        symbols=market.names,
        initial_balance_usd=started_usd,
        final_balance_usd=float(account["balance_usd"]),
        trades=state.log[: int(account["n_trades"])],
        equity_ms=equity_ms,
        equity_usd=equity_usd,
        n_signals=screened.n_signals,
        gates={**screened.gates, **blocked},
        peak_usd=None if market.past is None else market.past.peak_usd,
        has_excursions=bool(market.run["excursions"][0]),
        **ending,
    )


def indicators(candles: Candles, symbol: str, config: Config) -> dict[str, FloatArray]:
    """Every indicator of one symbol, one value a bar, by the names of the specification.

    Raises DataError when the symbol has no bars.
    """
    rows = candles.rows_of(symbol)
    n_bars = rows.stop - rows.start
    if n_bars == 0:
        raise DataError(f"symbol {symbol!r} must have candles, has none")
    check_configs(SymbolConfigs(config))
    windows = indicators_record(config)[0]
    n_past = int(longest_window(windows))
    bank = np.zeros((N_COLUMNS, n_past + n_bars))
    for number, column in enumerate((candles.high, candles.low, candles.close, candles.volume)):
        bank[number, n_past:] = column[rows]
    state = np.zeros(1, dtype=INDICATOR_STATE_DTYPE)
    bind_cpu(fill_bank)(bank, n_past, n_past, n_past + n_bars, windows, state[0])
    named = {name: bank[number, n_past:] for number, name in enumerate(BANK)}
    named["vol_trend"] = (named["vol_short"] > named["vol_sma"]).astype(np.float64)
    return named
