"""`mei-backtester loop`: flags over environment variables of the same name, progress, summary, exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _help(variable: str, text: str, default: str) -> str:
    return f"{text} (env {variable}, default {default or 'none'})"


def loop(
    research_dir: Annotated[
        Path | None,
        typer.Option("--research-dir", help=_help("RESEARCH_DIR", "candles in", "research")),
    ] = None,
    results_dir: Annotated[
        Path | None,
        typer.Option("--results-dir", help=_help("RESULTS_DIR", "results out", "results")),
    ] = None,
    ledger_db: Annotated[
        str | None,
        typer.Option(
            "--ledger-db",
            help=_help(
                "LEDGER_DB", "manifest: SQLite file or SQLAlchemy URL", "shared/manifest.sqlite"
            ),
        ),
    ] = None,
    data_incoming: Annotated[
        Path | None,
        typer.Option(
            "--data-incoming",
            help=_help("DATA_INCOMING", "chunk files of the ingester", "data/incoming"),
        ),
    ] = None,
    models_dir: Annotated[
        Path | None, typer.Option("--models-dir", help=_help("MODELS_DIR", "model files", "models"))
    ] = None,
    config_dir: Annotated[
        Path | None,
        typer.Option(
            "--config-dir",
            help=_help("CONFIG_DIR", "strategy.yaml and strategy_schemas/", "config"),
        ),
    ] = None,
    symbols: Annotated[
        str | None,
        typer.Option(
            "--symbols",
            help=_help(
                "SYMBOLS",
                "instruments, comma-separated; their order is the order of sums",
                "BTC/USDT",
            ),
        ),
    ] = None,
    timeframe: Annotated[
        str | None, typer.Option("--timeframe", help=_help("TIMEFRAME", "bar length", "1m"))
    ] = None,
    strategies: Annotated[
        str | None,
        typer.Option(
            "--strategies",
            "--strategy",
            help=_help(
                "STRATEGIES",
                "momentum_breakout, mei_alpha or path/to/file.py:ClassName, comma-separated",
                "momentum_breakout",
            ),
        ),
    ] = None,
    start_ts: Annotated[
        str | None,
        typer.Option(
            "--start-ts",
            help=_help("START_TS", "first bar open, UTC date or epoch ms; empty = all", ""),
        ),
    ] = None,
    end_ts: Annotated[
        str | None,
        typer.Option(
            "--end-ts",
            help=_help("END_TS", "bars open before this, UTC date or epoch ms; empty = all", ""),
        ),
    ] = None,
    chunk_rows: Annotated[
        int | None,
        typer.Option(
            "--chunk-rows",
            help=_help("CHUNK_ROWS", "bars a chunk: ingest latency, checkpoint interval", "1000"),
        ),
    ] = None,
    max_steps: Annotated[
        int | None,
        typer.Option("--max-steps", help=_help("MAX_STEPS", "chunks at most; 0 = no limit", "0")),
    ] = None,
    train_cron_minutes: Annotated[
        int | None,
        typer.Option(
            "--train-cron-minutes",
            help=_help("TRAIN_CRON_MINUTES", "training cadence on the bar-close clock", "360"),
        ),
    ] = None,
    training: Annotated[
        str | None,
        typer.Option(
            "--training", help=_help("TRAINING", "whether to train (on | first_only | off)", "on")
        ),
    ] = None,
    exactly_once: Annotated[
        bool | None,
        typer.Option(
            "--exactly-once/--no-exactly-once",
            help=_help(
                "EXACTLY_ONCE",
                "train on every bar at most once instead of a sliding window",
                "false",
            ),
        ),
    ] = None,
    train_min_points: Annotated[
        int | None,
        typer.Option(
            "--train-min-points",
            help=_help("TRAIN_MIN_POINTS", "fit + validation bars a training needs", "2000"),
        ),
    ] = None,
    train_window_days: Annotated[
        float | None,
        typer.Option(
            "--train-window-days", help=_help("TRAIN_WINDOW_DAYS", "sliding window", "7.0")
        ),
    ] = None,
    hmm_states: Annotated[
        int | None, typer.Option("--hmm-states", help=_help("HMM_STATES", "regimes", "4"))
    ] = None,
    promotion_min_delta: Annotated[
        float | None,
        typer.Option(
            "--promotion-min-delta",
            help=_help("PROMOTION_MIN_DELTA", "nats per bar a candidate must be better by", "0.02"),
        ),
    ] = None,
    purge_bars: Annotated[
        int | None,
        typer.Option(
            "--purge-bars",
            help=_help("PURGE_BARS", "bars dropped between fit and validation", "60"),
        ),
    ] = None,
    keep_n_models: Annotated[
        int | None,
        typer.Option(
            "--keep-n-models",
            help=_help("KEEP_N_MODELS", "model files kept besides those still referenced", "5"),
        ),
    ] = None,
    train_latency_seconds: Annotated[
        float | None,
        typer.Option(
            "--train-latency-seconds",
            help=_help("TRAIN_LATENCY_SECONDS", "a model serves this long after its as-of", "0.0"),
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy", help=_help("POLICY", "thompson, fixed:<preset> or round_robin", "thompson")
        ),
    ] = None,
    placebo: Annotated[
        str | None,
        typer.Option(
            "--placebo",
            help=_help(
                "PLACEBO", "shuffle regime labels (control run) (off | shuffled_labels)", "off"
            ),
        ),
    ] = None,
    fee_bp: Annotated[
        float | None,
        typer.Option("--fee-bp", help=_help("FEE_BP", "fee a side, bps of notional", "1.0")),
    ] = None,
    slippage_bp: Annotated[
        float | None,
        typer.Option(
            "--slippage-bp", help=_help("SLIPPAGE_BP", "slippage a side, bps of price", "2.0")
        ),
    ] = None,
    initial_cash: Annotated[
        float | None,
        typer.Option(
            "--initial-cash",
            help=_help("INITIAL_CASH", "account at the start, quote currency", "10000.0"),
        ),
    ] = None,
    entry_fill: Annotated[
        str | None,
        typer.Option(
            "--entry-fill",
            help=_help(
                "ENTRY_FILL", "where decided orders fill (next_open | signal_close)", "next_open"
            ),
        ),
    ] = None,
    gap_policy: Annotated[
        str | None,
        typer.Option(
            "--gap-policy",
            help=_help("GAP_POLICY", "gaps and faulty rows (keep | error | drop | ffill)", "keep"),
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help=_help("SEED", "of every random draw", "42"))
    ] = None,
    decision_log: Annotated[
        bool | None,
        typer.Option(
            "--decision-log/--no-decision-log",
            help=_help(
                "DECISION_LOG", "also write decisions.csv: what was known at each close", "false"
            ),
        ),
    ] = None,
    log_format: Annotated[
        str | None,
        typer.Option(
            "--log-format",
            help=_help(
                "LOG_FORMAT",
                "lines of progress: text, or JSON on stderr; the summary stays text (text | json)",
                "text",
            ),
        ),
    ] = None,
    rerun: Annotated[
        bool | None,
        typer.Option(
            "--rerun/--no-rerun",
            help=_help("RERUN", "start another attempt of a finished run", "false"),
        ),
    ] = None,
    ml_service: Annotated[
        str | None,
        typer.Option(
            "--ml-service", help=_help("ML_SERVICE", "URL; empty = embedded in this process", "")
        ),
    ] = None,
    param_controller: Annotated[
        str | None,
        typer.Option(
            "--param-controller",
            help=_help("PARAM_CONTROLLER", "URL; empty = embedded in this process", ""),
        ),
    ] = None,
    service_timeout_seconds: Annotated[
        float | None,
        typer.Option(
            "--service-timeout-seconds",
            help=_help("SERVICE_TIMEOUT_SECONDS", "how long to wait for a service", "300.0"),
        ),
    ] = None,
    service_token: Annotated[
        str | None,
        typer.Option(
            "--service-token",
            help=_help("SERVICE_TOKEN", "bearer token of the services, when they require auth", ""),
        ),
    ] = None,
    batch_bars: Annotated[
        int | None,
        typer.Option(
            "--batch-bars", help=_help("BATCH_BARS", "bars asked ahead in one request", "2000")
        ),
    ] = None,
    sample_if_empty: Annotated[
        bool,
        typer.Option(
            "--sample-if-empty", help="Write the sample first when RESEARCH_DIR holds no candles."
        ),
    ] = False,
) -> None:
    """Replay the learning loop over research candles; the result is in RESULTS_DIR."""
    flags = {name: value for name, value in locals().items() if name != "sample_if_empty"}
    from services.backtest_runner.app.console import run_in_console
    from services.backtest_runner.app.settings import Settings

    raise typer.Exit(run_in_console(Settings.load(**flags), sample_if_empty=sample_if_empty))
