"""Flags of the tools that look at candle, funding and trading databases, and of the one that divides candles."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from mei.cli.tool_program import clock_ms, names_in, print_json, tell
from mei.model.errors import ConfigError

_NowFlag = Annotated[
    int | None, typer.Option("--now-ms", help="Epoch ms UTC instead of the clock's.")
]
_WarnFlag = Annotated[bool, typer.Option("--fail-on-warn", help="Exit code 1 for WARN.")]
_SymbolsFlag = Annotated[
    str | None, typer.Option("--symbols", help="With commas; each must be there.  [default: all]")
]


def check_candle_dbs(
    db_glob: Annotated[
        str | None,
        typer.Option(
            "--db-glob", help="[default: candles_*.db in $AI_QUANT_CANDLES_DB_DIR or candles_dbs]"
        ),
    ] = None,
    lookback_hours: Annotated[
        float, typer.Option("--lookback-hours", help="Bars of so many hours must be there.")
    ] = 24.0,
    freshness_warn_mult: Annotated[
        float, typer.Option("--freshness-warn-mult", help="Age in intervals from which to warn.")
    ] = 2.0,
    freshness_fail_mult: Annotated[
        float, typer.Option("--freshness-fail-mult", help="And from which to fail.")
    ] = 5.0,
    gap_warn_bars: Annotated[
        int, typer.Option("--gap-warn-bars", help="Missing in a row from which to warn.")
    ] = 1,
    gap_fail_bars: Annotated[int, typer.Option("--gap-fail-bars", help="And to fail.")] = 3,
    missing_warn_bars: Annotated[
        int, typer.Option("--missing-warn-bars", help="Missing in all from which to warn.")
    ] = 10,
    missing_fail_bars: Annotated[
        int, typer.Option("--missing-fail-bars", help="And to fail.")
    ] = 50,
    grace_seconds: Annotated[
        float, typer.Option("--grace-seconds", help="A bar may come so long after its close.")
    ] = 5.0,
    max_gap_ranges: Annotated[
        int, typer.Option("--max-gap-ranges-per-symbol", help="Listed at most: the longest.")
    ] = 5,
    symbols: _SymbolsFlag = None,
    fail_on_warn: _WarnFlag = False,
    now_ms: _NowFlag = None,
    json_indent: Annotated[
        int, typer.Option("--json-indent", min=0, max=16, help="0 = one line.")
    ] = 2,
) -> None:
    """Whether candle databases are fresh and whole: JSON on standard output, exit code 2 for FAIL."""
    from mei.workflows.data_checks.candles import CandleCheckRequest
    from mei.workflows.data_checks.candles import check_candle_dbs as check

    request = CandleCheckRequest(
        db_glob=db_glob or str(_candles_dir() / "candles_*.db"),
        now_ms=clock_ms() if now_ms is None else now_ms,
        lookback_hours=lookback_hours,
        freshness_warn_mult=freshness_warn_mult,
        freshness_fail_mult=freshness_fail_mult,
        gap_warn_bars=gap_warn_bars,
        gap_fail_bars=gap_fail_bars,
        missing_warn_bars=missing_warn_bars,
        missing_fail_bars=missing_fail_bars,
        grace_seconds=grace_seconds,
        max_gap_ranges=max_gap_ranges,
        symbols=_named_symbols(symbols),
    )
    outcome = check(request, tell)
    print_json(outcome.report, json_indent)
    raise typer.Exit(outcome.exit_code(fail_on_warn=fail_on_warn))


def check_funding_rates_db(
    db: Annotated[
        str | None,
        typer.Option(
            "--db", help="[default: funding_rates.db in $AI_QUANT_CANDLES_DB_DIR or candles_dbs]"
        ),
    ] = None,
    symbols: _SymbolsFlag = None,
    lookback_hours: Annotated[
        float | None, typer.Option("--lookback-hours", help="[default: 72]")
    ] = None,
    lookback_days: Annotated[
        float | None, typer.Option("--lookback-days", help="Instead of hours.")
    ] = None,
    expected_interval_hours: Annotated[
        float, typer.Option("--expected-interval-hours", help="From one rate to the next.")
    ] = 1.0,
    interval_tolerance_seconds: Annotated[
        float, typer.Option("--interval-tolerance-seconds", help="Longer than that is a gap.")
    ] = 60.0,
    max_age_warn_multiplier: Annotated[
        float, typer.Option("--max-age-warn-multiplier", help="Intervals; above it, warn.")
    ] = 8.0,
    max_age_fail_multiplier: Annotated[
        float, typer.Option("--max-age-fail-multiplier", help="Above it, fail.")
    ] = 12.0,
    max_age_warn_hours: Annotated[
        float | None, typer.Option("--max-age-warn-hours", help="Instead of intervals.")
    ] = None,
    max_age_fail_hours: Annotated[
        float | None, typer.Option("--max-age-fail-hours", help="Instead of intervals.")
    ] = None,
    warn_gap_hours: Annotated[
        float, typer.Option("--warn-gap-hours", help="A longer gap warns.")
    ] = 2.0,
    max_gap_hours: Annotated[
        float, typer.Option("--max-gap-hours", help="A longer gap fails.")
    ] = 4.0,
    abs_rate_warn: Annotated[
        float, typer.Option("--abs-rate-warn", help="A larger rate (fraction) warns.")
    ] = 0.01,
    abs_rate_fail: Annotated[float, typer.Option("--abs-rate-fail", help="Or fails.")] = 0.02,
    delta_rate_warn: Annotated[
        float, typer.Option("--delta-rate-warn", help="A larger change between neighbours warns.")
    ] = 0.01,
    delta_rate_fail: Annotated[float, typer.Option("--delta-rate-fail", help="Or fails.")] = 0.02,
    fail_on_warn: _WarnFlag = False,
    now_ms: _NowFlag = None,
) -> None:
    """Whether funding rates are fresh, whole and possible: JSON on standard output, exit code 2 for FAIL."""
    from mei.workflows.data_checks.funding import FundingCheckRequest
    from mei.workflows.data_checks.funding import check_funding_rates_db as check

    if lookback_hours is not None and lookback_days is not None:
        raise ConfigError("--lookback-hours and --lookback-days say the same, give one of them")
    if lookback_days is not None:
        lookback_hours = 24.0 * lookback_days
    request = FundingCheckRequest(
        db=db or str(_candles_dir() / "funding_rates.db"),
        now_ms=clock_ms() if now_ms is None else now_ms,
        symbols=_named_symbols(symbols),
        lookback_hours=72.0 if lookback_hours is None else lookback_hours,
        expected_interval_hours=expected_interval_hours,
        interval_tolerance_seconds=interval_tolerance_seconds,
        max_age_warn_multiplier=max_age_warn_multiplier,
        max_age_fail_multiplier=max_age_fail_multiplier,
        max_age_warn_hours=max_age_warn_hours,
        max_age_fail_hours=max_age_fail_hours,
        warn_gap_hours=warn_gap_hours,
        max_gap_hours=max_gap_hours,
        abs_rate_warn=abs_rate_warn,
        abs_rate_fail=abs_rate_fail,
        delta_rate_warn=delta_rate_warn,
        delta_rate_fail=delta_rate_fail,
    )
    outcome = check(request, tell)
    print_json(outcome.report, None)
    raise typer.Exit(outcome.exit_code(fail_on_warn=fail_on_warn))


def partition_candles_db(
    interval: Annotated[str, typer.Option("--interval", help="Of the bars, such as 1h.")],
    src_db: Annotated[
        Path | None,
        typer.Option(
            "--src-db",
            help="[default: candles_<interval>.db in $AI_QUANT_CANDLES_DB_DIR or candles_dbs]",
        ),
    ] = None,
    out_dir: Annotated[
        Path | None, typer.Option("--out-dir", help="[default: partitions/<interval> beside it]")
    ] = None,
    keep_days: Annotated[
        int, typer.Option("--keep-days", help="Bars of so many days stay; older ones move.")
    ] = 90,
    apply: Annotated[
        bool, typer.Option("--apply", help="Copy them; without it they are only counted.")
    ] = False,
    delete: Annotated[
        bool, typer.Option("--delete", help="Take them out of the source once they are copied.")
    ] = False,
    vacuum: Annotated[
        bool, typer.Option("--vacuum", help="Give their room back to the disk.")
    ] = False,
    replace: Annotated[
        bool,
        typer.Option("--replace", help="Take the source's values for bars that are there already."),
    ] = False,
    now_ms: _NowFlag = None,
) -> None:
    """Move old bars into databases of a month each: a smaller database for a trader, all bars for a replay."""
    from mei.workflows.data_checks.partition import (
        PartitionRequest,
        interval_label,
    )
    from mei.workflows.data_checks.partition import partition_candles_db as partition

    request = PartitionRequest(
        interval=interval,
        src_db=src_db or _candles_dir() / f"candles_{interval_label(interval)}.db",
        now_ms=clock_ms() if now_ms is None else now_ms,
        out_dir=out_dir,
        keep_days=keep_days,
        apply=apply,
        delete=delete,
        vacuum=vacuum,
        replace=replace,
    )
    print_json(partition(request, tell))


def reality_check(
    symbol: Annotated[str, typer.Option("--symbol", help="What to look at.")] = "BTC",
    hours: Annotated[float, typer.Option("--hours", help="Audit events of so many hours.")] = 2.0,
    now_ms: _NowFlag = None,
) -> None:
    """What paper and live trader did to a symbol of late, and how its candles are; reads only."""
    from mei.data.trading_db import LIVE_DB, PAPER_DB
    from mei.workflows.data_checks.reality import RealityRequest
    from mei.workflows.data_checks.reality import reality_check as look

    interval = os.environ.get("AI_QUANT_INTERVAL") or "1h"
    candles = _candles_dir() / f"candles_{interval}.db"
    request = RealityRequest(
        symbol=symbol,
        hours=hours,
        now_ms=clock_ms() if now_ms is None else now_ms,
        trading_dbs=(
            ("paper", os.environ.get("AI_QUANT_PAPER_DB_PATH") or PAPER_DB),
            ("live", os.environ.get("AI_QUANT_LIVE_DB_PATH") or LIVE_DB),
        ),
        interval=interval,
        candles_db=os.environ.get("AI_QUANT_MARKET_DB_PATH") or str(candles),
    )
    n_read = look(request, typer.echo)
    raise typer.Exit(0 if n_read else 1)


def _candles_dir() -> Path:
    return Path(os.environ.get("AI_QUANT_CANDLES_DB_DIR") or "candles_dbs")


def _named_symbols(text: str | None) -> tuple[str, ...]:
    names = names_in(text)
    if text is not None and not names:
        raise ConfigError(f"--symbols must name a symbol, was {text!r}")
    return names
