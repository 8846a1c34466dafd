"""One replay from a command line: load, run, report."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mei.data.init_state import read_init_state
from mei.jit import is_cold
from mei.metrics.replay import replay_numbers, symbol_numbers
from mei.model.errors import ConfigError, DataError, OutputError
from mei.model.replay import InitState, ReplayInputs, ReplayResult
from mei.model.semantics import STRICT, Semantics
from mei.report.json_text import pretty_json
from mei.report.replay_csv import trades_csv
from mei.report.replay_json import curve_rows, replay_object, trade_rows
from mei.report.replay_text import replay_summary
from mei.workflows.files import check_apart, check_folder, write_result
from mei.workflows.market import (
    MOST_BARS,
    MarketRequest,
    Sources,
    Universe,
    check_finer,
    files_read,
    find_sources,
    find_window,
    known_after_ms,
    load_besides,
    load_universe,
    written_symbol,
)
from mei.workflows.strategy import DEFAULT_CONFIG, MEI_ALPHA, BacktestStrategy, Tell, load_strategy

_PROGRAM = "replay"


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """What the command line asks for. Balances in USD; slippage_bps None = as configured."""

    market: MarketRequest = field(default_factory=MarketRequest)
    config: str = DEFAULT_CONFIG
    live: bool = False
    strategy: str = MEI_ALPHA
    semantics: Semantics = STRICT
    initial_balance_usd: float = 10_000.0
    balance_from: str | None = None
    init_state: str | None = None
    lookback: int = 200
    slippage_bps: float | None = None
    output: str | None = None
    with_trades: bool = False
    with_curve: bool = False
    export_trades: str | None = None
    export_state: str | None = None


def run_replay(request: ReplayRequest, tell: Tell) -> str | None:
    """Run and write what was asked for; the report as JSON, or None where it went to a file.

    `tell` hears progress and the summary, a line each. Raises MeiError.
    """
    for path in (request.output, request.export_trades, request.export_state):
        check_folder(path)
    request, strategy, sources = _settings(request, tell)
    _refuse_nonsense(request)
    _refuse_overwriting(request, sources)
    check_finer(sources, request.semantics)
    _tell_settings(request, sources, strategy, tell)
    inputs, universe = _load(request, sources, strategy, tell)
    if is_cold():
        tell(
            "[replay] The first run compiles, about half a minute (tools/build_mei_backtester.py does so ahead)"
        )
    started = time.perf_counter()
    result = strategy.run(inputs)
    took_s = time.perf_counter() - started
    return _report(request, sources, strategy, universe, result, took_s, tell)


def _settings(
    request: ReplayRequest, tell: Tell
) -> tuple[ReplayRequest, BacktestStrategy, Sources]:
    """The request with its symbol as the candles write it, the strategy so set, and where its bars are."""
    given = request.market.symbol
    if given is not None and request.semantics.config_errors != "refuse":
        request = _with_symbol(request, given.upper())
    strategy = _load_strategy(request, tell)
    sources = find_sources(request.market, strategy)
    symbol = written_symbol(request.market.symbol, sources.main, request.semantics)
    if symbol == request.market.symbol:
        return request, strategy, sources
    request = _with_symbol(request, symbol)
    strategy = _load_strategy(request, lambda _: None)
    return request, strategy, find_sources(request.market, strategy)


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
    if request.semantics.config_errors != "refuse":
        return
    if not request.initial_balance_usd > 0.0:
        raise ConfigError(f"--initial-balance must be above 0, was {request.initial_balance_usd}")
    if request.slippage_bps is not None and request.slippage_bps < 0.0:
        raise ConfigError(f"--slippage-bps must be at least 0, was {request.slippage_bps}")


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


def exported_state(result: ReplayResult, source: str) -> str:
    """The state at the end of a run, before closing positions, as init-state of version 2.

    `balance` and `positions` are those of the continuation, where it has them, and stand beside it. OutputError when
    the strategy (`source`) leaves no state.
    """
    if not result.continuation:
        raise OutputError(
            f"--export-state needs a strategy that leaves its state, {source} does not"
        )
    rest: dict[str, Any] = dict(result.continuation)
    content = {
        "version": 2,
        "source": source,
        "exported_at_ms": int(result.equity_ms[-1]) if len(result.equity_ms) else 0,
        "balance": rest.pop("balance", result.final_balance_usd),
        "positions": rest.pop("positions", []),
        "continuation": rest,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


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
    request: ReplayRequest, sources: Sources, strategy: BacktestStrategy, tell: Tell
) -> tuple[ReplayInputs, Universe]:
    semantics = request.semantics
    known_after_ms(sources.main.interval, semantics)
    scope = sources.around() or [sources.main]
    window = find_window(request.market, scope, semantics, _PROGRAM, tell)
    universe = load_universe(request.market, sources.main, window, semantics, _PROGRAM, tell)
    besides = load_besides(request.market, sources, universe, window, semantics, _PROGRAM, tell)
    balance = request.initial_balance_usd
    if request.balance_from is not None:
        balance = read_balance(request.balance_from, tell)
    state = _init_state(request.init_state, universe.tradable, tell)
    strategy.prepare(universe.candles.symbols)
    inputs = ReplayInputs(
        candles=universe.candles,
        exit_candles=besides.exit_candles,
        entry_candles=besides.entry_candles,
        funding=besides.funding,
        from_ms=window.from_ms,
        to_ms=window.to_ms,
        initial_balance_usd=balance if state is None else state.balance_usd,
        lookback=min(request.lookback, MOST_BARS),
        init_state=state,
        traded=universe.traded,
        exports_state=request.export_state is not None,
    )
    return inputs, universe


def _init_state(path: str | None, symbols: Sequence[str], tell: Tell) -> InitState | None:
    if path is None:
        return None
    tell(f'[replay] Loading init-state from "{path}"')
    state = read_init_state(path, symbols, tell)
    tell(
        f"[init-state] Loaded balance=${state.balance_usd:.2f}, {len(state.positions)} position(s) from "
        f'"{state.source}" (exported at {state.exported_at_ms})'
    )
    return state


def _report(
    request: ReplayRequest,
    sources: Sources,
    strategy: BacktestStrategy,
    universe: Universe,
    result: ReplayResult,
    took_s: float,
    tell: Tell,
) -> str | None:
    reasons = strategy.reasons(result)
    numbers = replay_numbers(result, reasons)
    entry_bps = {name: max(strategy.slippage_bps(name), 0.0) for name in result.symbols}
    exit_bps = {name: strategy.exit_slippage_bps(name) for name in result.symbols}
    by_symbol = symbol_numbers(result, entry_bps, exit_bps)
    for line in replay_summary(numbers, took_s):
        tell(line)
    if request.export_trades is not None:
        text = trades_csv(
            result,
            reasons,
            universe.candles,
            unique_ids=request.semantics.trade_ids == "unique",
            known_after_ms=known_after_ms(sources.main.interval, request.semantics),
        )
        write_result(request.export_trades, text)
        tell(f"[replay] Trade CSV written to {request.export_trades}")
    report = replay_object(numbers, by_symbol, strategy.slippage_bps())
    if request.with_curve:
        report["equity_curve"] = curve_rows(result)
    if request.with_trades:
        report["trades"] = trade_rows(result, reasons)
    text = pretty_json(report)
    if request.output is not None:
        write_result(request.output, text)
        tell(f"[replay] Report written to {request.output}")
    if request.export_state is not None:
        write_result(request.export_state, exported_state(result, request.strategy))
        tell(f"[replay] State written to {request.export_state}")
    return text if request.output is None else None
