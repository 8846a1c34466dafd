"""`mei-backtester import-candles`: candle and funding files into the databases that replay and sweep read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import typer

from mei.model.errors import ConfigError

if TYPE_CHECKING:
    from mei.data.research import SeriesScan
    from mei.model.settings import GapPolicy


def import_candles(
    research_dir: Annotated[
        Path, typer.Option(envvar="RESEARCH_DIR", help="Candles as <BASE_QUOTE>/<timeframe>/*.csv.")
    ] = Path("research"),
    symbols: Annotated[
        str | None,
        typer.Option(help="Of --research-dir, comma-separated, such as BTC/USDT. Default: all."),
    ] = None,
    timeframe: Annotated[
        str | None, typer.Option(help="Of the files, such as 1m or 1h. Needed for candles.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="One file instead: timestamp,open,high,low,close,volume or exchange klines of 12 columns,"
            " .csv, .csv.gz or .zip; with --funding-db timestamp,funding_rate."
        ),
    ] = None,
    symbol: Annotated[str | None, typer.Option(help="Name in the database for --file.")] = None,
    db: Annotated[
        Path | None,
        typer.Option(help="Candle database, made if absent (a folder with --partition-by)."),
    ] = None,
    funding_db: Annotated[
        Path | None, typer.Option(help="Funding database for the rates of --file.")
    ] = None,
    as_name: Annotated[
        str | None, typer.Option("--as", help="Name in the database for a single --symbols.")
    ] = None,
    base_names: Annotated[
        bool, typer.Option("--base-names", help="Write BTC/USDT as BTC.")
    ] = False,
    resample: Annotated[
        str | None, typer.Option(help="Write longer bars, such as 1h from --timeframe 1m.")
    ] = None,
    keep_partial: Annotated[
        bool, typer.Option("--keep-partial", help="Keep a last longer bar that is not over yet.")
    ] = False,
    partition_by: Annotated[
        Literal["month"] | None,
        typer.Option(help="Write candles_<interval>_<YYYY-MM>.db into the folder --db."),
    ] = None,
    gap_policy: Annotated[
        Literal["keep", "error", "drop", "ffill"],
        typer.Option(envvar="GAP_POLICY", help="What gaps and faulty rows mean, as in loop."),
    ] = "keep",
    replace: Annotated[
        bool, typer.Option("--replace", help="Take new values for bars that are there already.")
    ] = False,
) -> None:
    """Put candle or funding files into the databases that replay and sweep read.

    Importing the same again changes nothing; a bar that is there with other values is an error without --replace.
    Every series is one transaction for each database. Gaps, dropped rows and overlaps are told.
    """
    if (db is None) == (funding_db is None):
        raise ConfigError(
            "one database must be given to write to: --db for candles, or --funding-db"
        )
    if (file is None) != (symbol is None):
        raise ConfigError("--file and --symbol belong together: --symbol names what is in the file")
    if funding_db is not None:
        _refuse(
            "--funding-db takes the rates of one --file as they are",
            {"--timeframe": timeframe, "--symbols": symbols, "--resample": resample}
            | {"--partition-by": partition_by, "--as": as_name, "--base-names": base_names},
        )
        _import_funding(file, symbol, funding_db, gap_policy, replace=replace)
        return
    assert db is not None
    if timeframe is None:
        raise ConfigError("--timeframe must say how long a bar of the files is, such as 1m or 1h")
    _refuse_months(timeframe, resample)
    if keep_partial and resample is None:
        raise ConfigError(
            "--keep-partial says what --resample does at the end: give --resample too"
        )
    from mei.data.candle_check import refuse_longer

    for name, scan in _scans(
        _Files(research_dir, symbols, timeframe, gap_policy),
        None if file is None or symbol is None else (file, symbol),
        as_name,
        base_names=base_names,
    ):
        typer.echo(scan.describe())
        refuse_longer(scan)
        _import_series(
            scan,
            name,
            resample,
            db,
            by_month=partition_by is not None,
            keep_partial=keep_partial,
            replace=replace,
        )


def _refuse_months(timeframe: str, resample: str | None) -> None:
    from mei.data.candle_check import refuse_month

    refuse_month(timeframe, "--timeframe")
    refuse_month(resample or "", "--resample")


class _Files(NamedTuple):
    research_dir: Path
    symbols: str | None
    timeframe: str
    gap_policy: GapPolicy


def _refuse(because: str, given: dict[str, object]) -> None:
    named = [flag for flag, value in given.items() if value]
    if named:
        raise ConfigError(f"{because}: leave out {', '.join(named)}")


def _scans(
    files: _Files, one: tuple[Path, str] | None, as_name: str | None, *, base_names: bool
) -> Iterator[tuple[str, SeriesScan]]:
    """(name in the database, scan) of every series asked for; names are settled before any file is read."""
    from mei.data.research import scan_file, scan_series

    if one is not None:
        _refuse(
            "--file takes its name from --symbol",
            {"--symbols": files.symbols, "--as": as_name, "--base-names": base_names},
        )
        yield one[1], scan_file(*one, files.timeframe, files.gap_policy)
        return
    wanted = _wanted(files)
    for name, symbol in zip(_names(wanted, as_name, base_names=base_names), wanted, strict=True):
        yield name, scan_series(files.research_dir, symbol, files.timeframe, files.gap_policy)


def _wanted(files: _Files) -> list[str]:
    from mei.data.research import available_series

    if files.symbols is not None:
        wanted = [name.strip() for name in files.symbols.split(",") if name.strip()]
    else:
        series = available_series(files.research_dir)
        wanted = [symbol for symbol, timeframe in series if timeframe == files.timeframe]
    if not wanted:
        raise ConfigError(
            f"there must be a series of {files.timeframe} to import, {files.research_dir} holds none"
            " and --symbols names none; give --symbols, --file or another --research-dir"
        )
    return list(dict.fromkeys(wanted))


def _names(wanted: list[str], as_name: str | None, *, base_names: bool) -> list[str]:
    if as_name is not None:
        if base_names or len(wanted) != 1:
            raise ConfigError(
                f"--as names a single series, was given with {', '.join(wanted)}"
                f"{' and --base-names' if base_names else ''}; import them one by one"
            )
        return [as_name]
    names = [symbol.partition("/")[0] for symbol in wanted] if base_names else wanted
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"every series must have its own name, --base-names gives {', '.join(twice)} to more"
            " than one; import them one by one with --as"
        )
    return names


def _import_series(
    scan: SeriesScan,
    name: str,
    longer: str | None,
    db: Path,
    *,
    by_month: bool,
    keep_partial: bool,
    replace: bool,
) -> None:
    import numpy as np

    from mei.data.candle_import import write_bars, write_bars_by_month
    from mei.data.resample import resampled
    from mei.data.research import read_series

    bars = np.concatenate(list(read_series(scan)))
    interval = scan.timeframe
    if longer is not None:
        made = resampled(bars, interval, longer, keep_partial=keep_partial)
        typer.echo(f"{name} {longer}: {made.describe()}")
        bars, interval = made.bars, longer
    if by_month:
        folder = db.parent if db.suffix.lower() == ".db" else db
        all_written = write_bars_by_month(folder, name, interval, bars, replace=replace)
    else:
        all_written = [write_bars(db, name, interval, bars, replace=replace)]
    for written in all_written:
        typer.echo(f"{name} {interval} in {written.describe()}")


def _import_funding(
    file: Path | None,
    symbol: str | None,
    funding_db: Path,
    gap_policy: GapPolicy,
    *,
    replace: bool,
) -> None:
    from mei.data.candle_import import write_funding
    from mei.data.funding_file import read_funding

    if file is None or symbol is None:
        raise ConfigError("--funding-db needs --file with the rates and --symbol with their name")
    rates = read_funding(file, gap_policy)
    typer.echo(f"{symbol}: {rates.describe()}")
    written = write_funding(funding_db, symbol, rates.time_ms, rates.rate, replace=replace)
    typer.echo(f"{symbol} in {written.describe()}")
