"""`mei-backtester sweep`."""

from __future__ import annotations

from typing import Annotated

import typer

from mei.cli import backtest_options as options
from mei.cli.backtest_options import finite, one_exit_code, print_banner, tell
from mei.model.errors import NotFoundError


def sweep(
    sweep_spec: Annotated[
        str, typer.Option("--sweep-spec", "--sweep-config", help="Axes and their values, YAML.")
    ],
    config: options.ConfigFlag = "strategy_overrides.yaml",
    candles_db: options.CandlesFlag = None,
    interval: options.IntervalFlag = None,
    exit_candles_db: options.ExitCandlesFlag = None,
    exit_interval: options.ExitIntervalFlag = None,
    entry_candles_db: options.EntryCandlesFlag = None,
    entry_interval: options.EntryIntervalFlag = None,
    funding_db: options.FundingFlag = None,
    start_ts: options.StartFlag = None,
    from_ts: options.FromFlag = None,
    end_ts: options.EndFlag = None,
    to_ts: options.ToFlag = None,
    no_auto_scope: options.NoScopeFlag = False,
    universe_filter: options.UniverseFlag = False,
    universe_db: options.UniverseDbFlag = None,
    initial_balance: options.BalanceFlag = 10_000.0,
    balance_from: options.BalanceFromFlag = None,
    live: options.LiveFlag = False,
    semantics: options.SemanticsFlag = "strict",
    strategy: options.StrategyFlag = "mei_alpha",
    output: Annotated[str, typer.Option("--output", help="JSON Lines.")] = "sweep_results.jsonl",
    threads: Annotated[
        int | None, typer.Option("--threads", min=0, help="[default: one per CPU]")
    ] = None,
    top_n: Annotated[int, typer.Option("--top-n", min=0, help="Rows of the printed table.")] = 10,
    parity_mode: Annotated[
        str,
        typer.Option("--parity-mode", help="production or identical-symbol-universe."),
    ] = "production",
    gpu: Annotated[bool, typer.Option("--gpu", help="Not available yet.")] = False,
    tpe: Annotated[bool, typer.Option("--tpe", help="Not available yet.")] = False,
    _tpe_trials: Annotated[int, typer.Option("--tpe-trials", min=0, hidden=True)] = 5000,
    _tpe_batch: Annotated[int, typer.Option("--tpe-batch", min=0, hidden=True)] = 256,
    _tpe_seed: Annotated[int, typer.Option("--tpe-seed", min=0, hidden=True)] = 42,
    _allow_unsafe_gpu_sweep: Annotated[
        bool, typer.Option("--allow-unsafe-gpu-sweep", hidden=True)
    ] = False,
    _version: options.VersionFlag = False,
) -> None:
    """Replay every combination of a strategy's settings and rank them."""
    from mei.model.semantics import parse_semantics
    from mei.workflows.sweep import PARITY_MODES, SweepRequest, run_sweep

    if parity_mode not in PARITY_MODES:
        raise typer.BadParameter(
            f"--parity-mode must be one of {', '.join(PARITY_MODES)}, was {parity_mode!r}"
        )
    request = SweepRequest(
        spec=sweep_spec,
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
        ),
        config=config,
        live=live,
        strategy=strategy,
        semantics=parse_semantics(semantics),
        initial_balance_usd=finite("--initial-balance", initial_balance),
        balance_from=balance_from,
        output=output,
        threads=threads,
        top_n=top_n,
        parity_mode=parity_mode,
    )
    print_banner()
    with one_exit_code():
        for flag, is_given in (("--gpu", gpu), ("--tpe", tpe)):
            if is_given:
                raise NotFoundError(f"{flag} must be left out: sweeps run on the CPU only so far")
        run_sweep(request, tell)
