"""`mei-backtester replay`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mei.cli import backtest_options as options
from mei.cli.backtest_options import finite, one_exit_code, print_banner, tell


def replay(
    config: options.ConfigFlag = "strategy_overrides.yaml",
    candles_db: options.CandlesFlag = None,
    interval: options.IntervalFlag = None,
    exit_candles_db: options.ExitCandlesFlag = None,
    exit_interval: options.ExitIntervalFlag = None,
    entry_candles_db: options.EntryCandlesFlag = None,
    entry_interval: options.EntryIntervalFlag = None,
    funding_db: options.FundingFlag = None,
    symbol: Annotated[
        str | None,
        typer.Option(
            "--symbol", help="Trade only this one; in upper case if there is none so written."
        ),
    ] = None,
    start_ts: options.StartFlag = None,
    from_ts: options.FromFlag = None,
    end_ts: options.EndFlag = None,
    to_ts: options.ToFlag = None,
    no_auto_scope: options.NoScopeFlag = False,
    universe_filter: options.UniverseFlag = False,
    universe_db: options.UniverseDbFlag = None,
    initial_balance: options.BalanceFlag = 10_000.0,
    balance_from: options.BalanceFromFlag = None,
    init_state: Annotated[
        str | None,
        typer.Option("--init-state", help="JSON: balance and open positions to start with."),
    ] = None,
    lookback: Annotated[
        int | None,
        typer.Option("--lookback", min=0, help="Bars before the first entry.  [default: 200]"),
    ] = None,
    slippage_bps: Annotated[
        float | None,
        typer.Option("--slippage-bps", help="Replaces the strategy file's, at least 0."),
    ] = None,
    live: options.LiveFlag = False,
    semantics: options.SemanticsFlag = "strict",
    strategy: options.StrategyFlag = "mei_alpha",
    output: Annotated[
        str | None, typer.Option("--output", help="Report, JSON.  [default: standard output]")
    ] = None,
    trades: Annotated[bool, typer.Option("--trades", help="Every trade in the report.")] = False,
    equity_curve: Annotated[
        bool, typer.Option("--equity-curve", help="The equity curve in the report.")
    ] = False,
    export_trades: Annotated[
        str | None, typer.Option("--export-trades", help="Closed trades, CSV.")
    ] = None,
    export_state: Annotated[
        str | None,
        typer.Option("--export-state", help="State at the end, JSON, for --init-state."),
    ] = None,
    _version: options.VersionFlag = False,
) -> None:
    """Replay a strategy over candle databases and report what came of it."""
    from mei.cli.versions import revision
    from mei.model.semantics import parse_semantics
    from mei.workflows.replay import ReplayRequest, run_replay

    request = ReplayRequest(
        market=options.market_request(
            candles_db=candles_db,
            interval=interval,
            exit_candles_db=exit_candles_db,
            exit_interval=exit_interval,
            entry_candles_db=entry_candles_db,
            entry_interval=entry_interval,
            funding_db=funding_db,
            start=(start_ts, from_ts),
            end=(end_ts, to_ts),
            no_auto_scope=no_auto_scope,
            universe_filter=universe_filter,
            universe_db=universe_db,
            symbol=None if symbol is None else symbol.strip(),
        ),
        config=config,
        live=live,
        strategy=strategy,
        semantics=parse_semantics(semantics),
        initial_balance_usd=finite("--initial-balance", initial_balance),
        balance_from=balance_from,
        init_state=init_state,
        lookback=lookback,
        slippage_bps=None if slippage_bps is None else finite("--slippage-bps", slippage_bps),
        output=output,
        with_trades=trades,
        with_curve=equity_curve,
        export_trades=export_trades,
        export_state=export_state,
        revision=revision(),
    )
    print_banner()
    with one_exit_code():
        report = run_replay(request, tell)
    if report is not None:
        sys.stdout.write(report)
