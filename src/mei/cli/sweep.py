"""`mei-backtester sweep`."""

from __future__ import annotations

from typing import Annotated

import typer

from mei.cli import backtest_options as options
from mei.cli.backtest_options import finite, one_exit_code, print_banner, tell


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
    output: Annotated[
        str, typer.Option("--output", help="JSON Lines, or Parquet by the ending .parquet.")
    ] = "sweep_results.jsonl",
    threads: Annotated[
        int | None, typer.Option("--threads", min=0, help="[default: one per CPU]")
    ] = None,
    top_n: Annotated[int, typer.Option("--top-n", min=0, help="Rows of the printed table.")] = 10,
    rerun: Annotated[
        int,
        typer.Option(min=0, help="How many of the best to run again, with curve and trades."),
    ] = 3,
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Run on a Dask cluster: tcp://host:8786, or local for one process a thread."
        ),
    ] = None,
    chunk_size: Annotated[
        int | None,
        typer.Option(
            "--chunk-size",
            min=1,
            help="Combinations between two entries of the journal. [default: by their work]",
        ),
    ] = None,
    ledger: Annotated[
        str | None,
        typer.Option(
            help="Where trials are counted: a path, a database URL, or none. "
            "[default: LEDGER_DB, else shared/manifest.sqlite]"
        ),
    ] = None,
    parity_mode: Annotated[
        str,
        typer.Option("--parity-mode", help="production or identical-symbol-universe."),
    ] = "production",
    device: Annotated[
        str | None,
        typer.Option(help="cpu, gpu, or auto: a GPU where one can be used. [default: cpu]"),
    ] = None,
    gpu: Annotated[bool, typer.Option("--gpu", help="The same as --device gpu.")] = False,
    tpe: Annotated[
        bool,
        typer.Option("--tpe", help="Search the ranges of the axes (TPE), not every combination."),
    ] = False,
    tpe_trials: Annotated[int, typer.Option("--tpe-trials", min=1, help="Trials in all.")] = 5000,
    tpe_batch: Annotated[
        int, typer.Option("--tpe-batch", min=1, help="Trials asked for at a time.")
    ] = 256,
    tpe_seed: Annotated[
        int, typer.Option("--tpe-seed", min=0, help="Same seed and batch, same trials.")
    ] = 42,
    _allow_unsafe_gpu_sweep: Annotated[
        bool, typer.Option("--allow-unsafe-gpu-sweep", hidden=True)
    ] = False,
    _version: options.VersionFlag = False,
) -> None:
    """Replay every combination of a strategy's settings and rank them."""
    from mei.cli.versions import revision
    from mei.model.semantics import parse_semantics
    from mei.workflows.sweep.request import PARITY_MODES, SweepRequest, TpeTerms
    from mei.workflows.sweep.run import run_sweep

    if parity_mode not in PARITY_MODES:
        raise typer.BadParameter(
            f"--parity-mode must be one of {', '.join(PARITY_MODES)}, was {parity_mode!r}"
        )
    if gpu and device not in (None, "gpu"):
        raise typer.BadParameter(f"--gpu and --device {device} must not be given together")
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
        n_rerun=rerun,
        chunk_size=chunk_size,
        ledger=ledger,
        revision=revision(),
        scheduler=scheduler,
        tpe=TpeTerms(tpe_trials, tpe_batch, tpe_seed) if tpe else None,
        parity_mode=parity_mode,
        device=device or ("gpu" if gpu else "cpu"),
    )
    print_banner()
    with one_exit_code():
        run_sweep(request, tell)
