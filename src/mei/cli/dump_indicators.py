"""`mei-backtester dump-indicators`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mei.cli import backtest_options as options
from mei.cli.backtest_options import one_exit_code, print_banner, tell


def dump_indicators(
    symbol: Annotated[str, typer.Option("--symbol", help="As it is written in the database.")],
    config: options.ConfigFlag = "strategy_overrides.yaml",
    candles_db: options.CandlesFlag = None,
    interval: options.IntervalFlag = None,
    semantics: options.SemanticsFlag = "strict",
    output: Annotated[
        str | None, typer.Option("--output", help="CSV.  [default: standard output]")
    ] = None,
    _version: options.VersionFlag = False,
) -> None:
    """Print the indicators of one symbol, bar by bar, as CSV."""
    from mei.model.semantics import parse_semantics
    from mei.workflows.dump import DumpRequest, run_dump

    request = DumpRequest(symbol, config, candles_db, interval, output, parse_semantics(semantics))
    print_banner()
    with one_exit_code():
        text = run_dump(request, tell)
    if text is not None:
        sys.stdout.write(text)
