"""One replay from a command line: load, run, report."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mei.data.candle_db import load_candles
from mei.data.init_state import init_state_text, read_init_state
from mei.jit import is_cold
from mei.metrics.replay import replay_numbers
from mei.model.errors import ConfigError, DataError
from mei.model.replay import InitState, ReplayInputs, ReplayResult
from mei.model.semantics import REFERENCE, STRICT, Semantics
from mei.report.json_text import pretty_json
from mei.report.replay_csv import Brought, brought_by, n_open_at_end, trades_csv, with_open_trades
from mei.report.replay_json import curve_rows, trade_rows
from mei.report.replay_text import replay_summary
from mei.workflows.files import check_apart, check_folder, write_result
from mei.workflows.market import (
    MOST_BARS,
    LoadCandles,
    MarketRequest,
    Sources,
    check_finer,
    files_read,
    find_sources,
    find_window,
    known_after_ms,
    load_besides,
    load_universe,
    refuse_untraded,
    written_symbol,
)
from mei.workflows.run_facts import RunFacts, facts_of, run_line, run_object
from mei.workflows.strategy import (
    DEFAULT_CONFIG,
    MEI_ALPHA,
    BacktestStrategy,
    Tell,
    load_strategy,
    report_object,
)
from mei.workflows.strategy_flags import refuse_unread_flags

_PROGRAM = "replay"
#: Bars before the first entry if nothing is said.
_USUAL_LOOKBACK = 200


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """What the command line asks for. Balances in USD; slippage_bps None = as configured; lookback None = 200.

    revision: of the checkout the program is run from, for the report.
    """

    market: MarketRequest = field(default_factory=MarketRequest)
    config: str = DEFAULT_CONFIG
    live: bool = False
    strategy: str = MEI_ALPHA
    semantics: Semantics = STRICT
    initial_balance_usd: float = 10_000.0
    balance_from: str | None = None
    init_state: str | None = None
    lookback: int | None = None
    slippage_bps: float | None = None
    output: str | None = None
    with_trades: bool = False
    with_curve: bool = False
    export_trades: str | None = None
    export_state: str | None = None
    revision: str = "unknown"


def run_replay(request: ReplayRequest, tell: Tell, load: LoadCandles = load_candles) -> str | None:
    """Run and write what was asked for; the report as JSON, or None where it went to a file.

    `tell` hears progress and the summary, a line each. load: for many replays over the same bars. Raises MeiError.
    """
    for path in (request.output, request.export_trades, request.export_state):
        check_folder(path)
    request, strategy, sources = _settings(request, tell)
    _refuse_nonsense(request)
    _refuse_overwriting(request, sources)
    check_finer(sources, request.semantics)
    _tell_settings(request, sources, strategy, tell)
    inputs = _load(request, sources, strategy, tell, load)
    facts = facts_of(request, sources, strategy, inputs, init_state_path=request.init_state)
    tell(run_line(_PROGRAM, facts))
    # Before the work: what it brings along may not be as it was written.
    brought = brought_by(inputs.init_state, inputs.from_ms)
    if is_cold(strategy.kernel(is_sweep=False)):
        tell(
            "[replay] The first run compiles, about half a minute (tools/build_mei_backtester.py does so ahead)"
        )
    started = time.perf_counter()
    result = strategy.run(inputs)
    took_s = time.perf_counter() - started
    return _report(request, facts, strategy, result, brought, took_s, tell)


def _settings(
    request: ReplayRequest, tell: Tell
) -> tuple[ReplayRequest, BacktestStrategy, Sources]:
    """The request with its symbol as the candles write it, the strategy so set, and where its bars are."""
    refuse_unread_flags(
        request.strategy,
        request.market,
        request.semantics,
        live=request.live,
        lookback=request.lookback,
    )
    given = request.market.symbol
    if given is not None and not _is_strict(request):
        request = _with_symbol(request, given.upper())
    tell = _each_once(tell)
    strategy = _load_strategy(request, tell)
    sources = find_sources(request.market, strategy)
    symbol = written_symbol(request.market.symbol, sources.main, request.semantics)
    if symbol == request.market.symbol:
        return request, strategy, sources
    request = _with_symbol(request, symbol)
    strategy = _load_strategy(request, tell)
    return request, strategy, find_sources(request.market, strategy)


def _each_once(tell: Tell) -> Tell:
    """`tell` without the lines it has had."""
    told: set[str] = set()

    def once(line: str) -> None:
        if line not in told:
            told.add(line)
            tell(line)

    return once


def _with_symbol(request: ReplayRequest, symbol: str | None) -> ReplayRequest:
    return replace(request, market=replace(request.market, symbol=symbol))


def _load_strategy(request: ReplayRequest, tell: Tell) -> BacktestStrategy:
    return load_strategy(
        request.strategy,
        config=request.config,
        live=request.live,
        symbol=request.market.symbol,
        slippage_bps=request.slippage_bps,
        semantics=request.semantics,
        tell=tell,
    )


def _refuse_nonsense(request: ReplayRequest) -> None:
    """Money no run can be made with; the reference takes it as it comes."""
    if not _is_strict(request):
        return
    _refuse_balance("--initial-balance", request.initial_balance_usd)
    if request.slippage_bps is not None and request.slippage_bps < 0.0:
        raise ConfigError(f"--slippage-bps must be at least 0, was {request.slippage_bps}")


def _is_strict(request: ReplayRequest) -> bool:
    return request.semantics.config_errors == "refuse"


def _refuse_balance(name: str, balance_usd: float) -> None:
    if not balance_usd > 0.0:
        raise ConfigError(f"{name} must be above 0, was {balance_usd}")


def _refuse_overwriting(request: ReplayRequest, sources: Sources) -> None:
    check_apart(
        [
            ("--output", request.output),
            ("--export-trades", request.export_trades),
            ("--export-state", request.export_state),
        ],
        [
            ("--config", request.config),
            ("--balance-from", request.balance_from),
            ("--init-state", request.init_state),
            *files_read(request.market, sources),
        ],
    )


def read_balance(path: str, tell: Tell) -> float:
    """The number `balance` of a JSON file, USD; DataError when it has none."""
    try:
        content = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise DataError(
            f"{path}: --balance-from must be a readable file, was not ({error.strerror})"
        ) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: --balance-from must be JSON, is not ({error})") from None
    balance: Any = content.get("balance") if isinstance(content, dict) else None
    is_number = isinstance(balance, (int, float)) and not isinstance(balance, bool)
    if not is_number or not math.isfinite(balance):
        raise DataError(f'{path}: --balance-from must have a numeric "balance" field, has not')
    tell(f'[balance-from] Read balance=${balance:.2f} from "{path}"')
    return float(balance)


def exported_state(result: ReplayResult, source: str, continuation: Mapping[str, Any]) -> str:
    """The state at the end of a run, before closing positions, as init-state of version 2.

    Its balance and positions are there to be read; what a run goes on with is `continuation`.
    """
    state = InitState(
        version=2,
        source=source,
        exported_at_ms=int(continuation["as_of_ms"]),
        balance_usd=result.left_usd,
        positions=result.left_positions,
        continuation=continuation,
    )
    return init_state_text(state)


def _tell_settings(
    request: ReplayRequest, sources: Sources, strategy: BacktestStrategy, tell: Tell
) -> None:
    symbol = request.market.symbol
    shown = "None" if symbol is None else f'Some("{symbol}")'
    tell(
        f'[replay] Config loaded from "{request.config}" (live={str(request.live).lower()}, symbol={shown})'
    )
    tell(f"[replay] Indicator interval: {sources.main.interval} (db: {sources.main.db_set})")
    for name, series in (("Exit", sources.exit), ("Entry", sources.entry)):
        if series is not None and series.is_scoped:
            tell(f"[replay] {name} interval: {series.interval} (db: {series.db_set})")
    for line in strategy.headlines():
        tell(f"[replay] {line}")


def _load(
    request: ReplayRequest,
    sources: Sources,
    strategy: BacktestStrategy,
    tell: Tell,
    load: LoadCandles,
) -> ReplayInputs:
    semantics = request.semantics
    known_after_ms(sources.main.interval, semantics)
    scope = sources.around() or [sources.main]
    window = find_window(request.market, scope, semantics, _PROGRAM, tell)
    market = request.market
    universe = load_universe(market, sources.main, window, semantics, _PROGRAM, tell, load=load)
    besides = load_besides(market, sources, universe, window, semantics, _PROGRAM, tell, load)
    balance = request.initial_balance_usd
    if request.balance_from is not None:
        balance = read_balance(request.balance_from, tell)
        if _is_strict(request):
            _refuse_balance("balance of --balance-from", balance)
    state = _init_state(request, universe.tradable, tell)
    strategy.prepare(universe.candles.symbols)
    lookback = min(_USUAL_LOOKBACK if request.lookback is None else request.lookback, MOST_BARS)
    if state is None:
        needed = partial(strategy.bars_needed, lookback=lookback)
        refuse_untraded(universe, sources.main, window, needed, semantics, _PROGRAM, tell)
    return ReplayInputs(
        candles=universe.candles,
        exit_candles=besides.exit_candles,
        entry_candles=besides.entry_candles,
        funding=besides.funding,
        from_ms=window.from_ms,
        to_ms=window.to_ms,
        initial_balance_usd=balance if state is None else state.balance_usd,
        lookback=lookback,
        init_state=state,
        traded=universe.traded,
        exports_state=request.export_state is not None,
    )


def _init_state(request: ReplayRequest, symbols: Sequence[str], tell: Tell) -> InitState | None:
    path = request.init_state
    if path is None:
        return None
    tell(f'[replay] Loading init-state from "{path}"')
    state = read_init_state(path, symbols, tell, strict=_is_strict(request))
    tell(
        f"[init-state] Loaded balance=${state.balance_usd:.2f}, {len(state.positions)} position(s) from "
        f'"{state.source}" (exported at {state.exported_at_ms})'
    )
    if state.continuation is None:
        tell(
            "[init-state] Version 1 tells no peak of the equity, no trade ids and no ranges of prices: drawdown, "
            "trade ids, mae and mfe start with this run"
        )
    return state


def _tell_open(result: ReplayResult, brought: Brought, tell: Tell) -> None:
    """What of the profit is not realised: only a strategy that closes nothing at the end leaves something open."""
    n_open = n_open_at_end(result, brought)
    if n_open:
        realised_usd = float(np.sum(result.trades["pnl_usd"]) - np.sum(result.trades["fee_usd"]))
        marked_usd = result.final_balance_usd - result.initial_balance_usd - realised_usd
        tell(
            f"[replay] Still open at the end: {n_open} positions, marked at their last close: {marked_usd:+.2f} USD of "
            "the total P&L is not realised"
        )


def _report(
    request: ReplayRequest,
    facts: RunFacts,
    strategy: BacktestStrategy,
    result: ReplayResult,
    brought: Brought,
    took_s: float,
    tell: Tell,
) -> str | None:
    reasons = strategy.reasons(result)
    numbers = replay_numbers(result, reasons)
    for line in replay_summary(numbers, took_s, result.peak_usd):
        tell(line)
    _tell_open(result, brought, tell)
    candles = facts.inputs.candles
    after_ms = known_after_ms(facts.sources.main.interval, request.semantics)
    if request.export_trades is not None:
        text = trades_csv(
            result,
            reasons,
            candles,
            unique_ids=request.semantics.trade_ids == "unique",
            known_after_ms=after_ms,
            brought=brought,
        )
        write_result(request.export_trades, text)
        tell(f"[replay] Trade CSV written to {request.export_trades}")
    report = report_object(strategy, result, numbers)
    if request.semantics != REFERENCE:
        report["run"] = run_object(facts)
    if request.with_curve:
        report["equity_curve"] = curve_rows(result)
    if request.with_trades:
        report["trades"] = trade_rows(result, reasons)
    text = pretty_json(report)
    if request.output is not None:
        write_result(request.output, text)
        tell(f"[replay] Report written to {request.output}")
    if request.export_state is not None:
        kept = with_open_trades(result, candles, after_ms, brought)
        write_result(request.export_state, exported_state(result, request.strategy, kept))
        tell(f"[replay] State written to {request.export_state}")
    return text if request.output is None else None
