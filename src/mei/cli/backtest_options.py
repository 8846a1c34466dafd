"""Flags that replay, sweep and dump-indicators share, and how their errors leave the program."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from mei.cli.versions import print_version
from mei.model.errors import ConfigError, MeiError, StoppedError

if TYPE_CHECKING:
    from mei.workflows.market import MarketRequest

VersionFlag = Annotated[
    bool,
    typer.Option(
        "--version", "-V", callback=print_version, is_eager=True, help="Show the version and exit."
    ),
]
ConfigFlag = Annotated[str, typer.Option("--config", help="Strategy file, YAML.")]
CandlesFlag = Annotated[
    str | None,
    typer.Option(
        "--candles-db",
        help="Candle databases: files or folders, comma-separated.  [default: candles_dbs/candles_<interval>.db]",
    ),
]
IntervalFlag = Annotated[
    str | None,
    typer.Option("--interval", help="Of the main candles.  [default: the strategy file's, or 1h]"),
]
ExitCandlesFlag = Annotated[
    str | None, typer.Option("--exit-candles-db", help="Finer candles that exits are decided on.")
]
ExitIntervalFlag = Annotated[
    str | None,
    typer.Option("--exit-interval", help="Their interval.  [default: the strategy file's]"),
]
EntryCandlesFlag = Annotated[
    str | None,
    typer.Option("--entry-candles-db", help="Finer candles that entries are decided on."),
]
EntryIntervalFlag = Annotated[
    str | None,
    typer.Option("--entry-interval", help="Their interval.  [default: the strategy file's]"),
]
FundingFlag = Annotated[str | None, typer.Option("--funding-db", help="Funding rates.")]
BalanceFlag = Annotated[float, typer.Option("--initial-balance", help="USD to start with.")]
BalanceFromFlag = Annotated[
    str | None,
    typer.Option("--balance-from", help="JSON file whose `balance` replaces --initial-balance."),
]
_TIME = "a moment (2024-01-01T00:00:00Z), a day or an epoch"
StartFlag = Annotated[
    str | None, typer.Option("--start-ts", metavar="TIME", help=f"Trade from {_TIME} on.")
]
FromFlag = Annotated[
    str | None, typer.Option("--from-ts", metavar="TIME", help="The same as --start-ts.")
]
EndFlag = Annotated[
    str | None, typer.Option("--end-ts", metavar="TIME", help=f"Trade up to {_TIME}.")
]
ToFlag = Annotated[
    str | None, typer.Option("--to-ts", metavar="TIME", help="The same as --end-ts.")
]
NoScopeFlag = Annotated[
    bool,
    typer.Option("--no-auto-scope", help="Do not bound the run by what all databases cover."),
]
UniverseFlag = Annotated[
    bool, typer.Option("--universe-filter", help="Only symbols listed inside the window.")
]
UniverseDbFlag = Annotated[
    str | None,
    typer.Option(
        "--universe-db", help="When symbols were listed.  [default: universe_history.db beside]"
    ),
]
LiveFlag = Annotated[bool, typer.Option("--live", help="Apply the `live` layer of the file.")]
SemanticsFlag = Annotated[
    str,
    typer.Option(
        "--semantics",
        help="strict, reference, or one of them with switches: strict,exit_fill=close.",
    ),
]
StrategyFlag = Annotated[str, typer.Option("--strategy", help="mei_alpha or momentum_breakout.")]


def tell(line: str) -> None:
    """Progress and summaries go to standard error."""
    print(line, file=sys.stderr, flush=True)


def print_banner() -> None:
    """The first lines of every run."""
    from mei import __version__

    tell(f"mei-backtester v{__version__}\n")


@contextmanager
def one_exit_code() -> Iterator[None]:
    """Errors of a run leave with exit code 1, wrong settings and flags with 2."""
    try:
        yield
    except MeiError as error:
        if not isinstance(error, (ConfigError, StoppedError)):
            error.exit_code = 1
        raise


def finite(flag: str, value: float) -> float:
    """The value; BadParameter when it is not finite."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{flag} must be a finite number, was {value}")
    return value


def market_request(
    *,
    candles_db: str | None,
    interval: str | None,
    exit_candles_db: str | None,
    exit_interval: str | None,
    entry_candles_db: str | None,
    entry_interval: str | None,
    funding_db: str | None,
    start: tuple[str | None, str | None],
    end: tuple[str | None, str | None],
    no_auto_scope: bool,
    universe_filter: bool,
    universe_db: str | None,
    symbol: str | None = None,
) -> MarketRequest:
    """The flags of data; start and end in both spellings. BadParameter for a time that is none."""
    from mei.workflows.market import MarketRequest

    return MarketRequest(
        candles_db=candles_db,
        interval=interval,
        exit_candles_db=exit_candles_db,
        exit_interval=exit_interval,
        entry_candles_db=entry_candles_db,
        entry_interval=entry_interval,
        funding_db=funding_db,
        start_ms=_one_time(("--start-ts", "--from-ts"), start),
        end_ms=_one_time(("--end-ts", "--to-ts"), end),
        auto_scope=not no_auto_scope,
        universe_filter=universe_filter,
        universe_db=universe_db,
        symbol=symbol,
    )


def _one_time(flags: tuple[str, str], texts: tuple[str | None, str | None]) -> int | None:
    from mei.workflows.window import parse_timestamp

    given = [(flag, text) for flag, text in zip(flags, texts, strict=True) if text is not None]
    if len(given) > 1:
        raise typer.BadParameter(f"{flags[0]} and {flags[1]} must not both be given")
    for flag, text in given:
        try:
            return parse_timestamp(text)
        except ValueError as error:
            raise typer.BadParameter(f"{flag}: {error}") from None
    return None
