"""`mei-backtester download`: candles and funding rates from an exchange into databases and research files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mei.model.errors import ConfigError


def download(
    symbols: Annotated[
        str,
        typer.Option(
            envvar="SYMBOLS",
            help="Comma-separated: BTC/USDT is spot, BTC/USDT:USDT the perpetual settled in USDT.",
        ),
    ],
    since: Annotated[
        str, typer.Option(metavar="TIME", help="First open, such as 2024-01-01 (midnight UTC).")
    ],
    exchange: Annotated[
        str, typer.Option(envvar="EXCHANGE", help="As ccxt calls it: binance, bybit, kraken, ...")
    ] = "binance",
    timeframe: Annotated[
        str, typer.Option(envvar="TIMEFRAME", help="Comma-separated, such as 1m,1h.")
    ] = "1m",
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Opens before it.  [default: the newest closed candle]"),
    ] = None,
    candles_dir: Annotated[
        Path,
        typer.Option(
            envvar="AI_QUANT_CANDLES_DB_DIR", help="Where candles_<timeframe>.db are or go."
        ),
    ] = Path("candles_dbs"),
    research_dir: Annotated[
        Path | None,
        typer.Option(help="Write CSV files for the learning loop there, too (its RESEARCH_DIR)."),
    ] = None,
    funding: Annotated[
        bool,
        typer.Option("--funding", help="Also the funding rates, into funding_rates.db beside it."),
    ] = False,
    hourly_funding: Annotated[
        bool,
        typer.Option(
            "--hourly-funding",
            help="With --funding: divide rates of several hours by these, as backtests pay them.",
        ),
    ] = False,
    base_names: Annotated[
        bool, typer.Option("--base-names", help="Write BTC/USDT as BTC into the databases.")
    ] = False,
    base_url: Annotated[
        str | None,
        typer.Option(
            envvar="EXCHANGE_URL",
            help="Instead of the exchange's own addresses: a proxy of yours, a test. Paths stay.",
        ),
    ] = None,
    pause_ms: Annotated[
        float | None,
        typer.Option(min=0, help="Between requests.  [default: what the exchange allows]"),
    ] = None,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="Of one request.")] = 20.0,
    attempts: Annotated[int, typer.Option(min=1, help="How often to ask before giving up.")] = 8,
    retry_wait_s: Annotated[
        float, typer.Option(min=0, help="Before the second attempt; doubles up to 60 s.")
    ] = 1.0,
) -> None:
    """Bring candles and funding rates from an exchange into databases.

    Closed candles only, by the exchange's clock. What is there is not asked for again: the same command goes on where
    it was stopped or killed, and brings what is new. Holes are asked for again, then noted and told.
    """
    import time

    from mei.workflows.download.exchange import ExchangeTerms, checked_url
    from mei.workflows.download.run import DownloadRequest, run_download

    if hourly_funding and not funding:
        raise ConfigError("--hourly-funding says how --funding is stored: give --funding, too")
    request = DownloadRequest(
        ExchangeTerms(
            exchange, None if base_url is None else checked_url(base_url), pause_ms, timeout_s
        ),
        tuple(symbols.split(",")),
        tuple(part.strip() for part in timeframe.split(",") if part.strip()),
        _time("--since", since),
        None if until is None else _time("--until", until),
        candles_dir,
        research_dir,
        with_funding=funding,
        hourly_funding=hourly_funding,
        base_names=base_names,
        attempts=attempts,
        first_wait_s=retry_wait_s,
        hole_wait_s=retry_wait_s,
    )
    run_download(
        request,
        now_ms=lambda: time.time_ns() // 1_000_000,
        sleep=time.sleep,
        tell=lambda line: typer.echo(line),
    )


def _time(flag: str, text: str) -> int:
    from mei.workflows.window import parse_timestamp

    try:
        return parse_timestamp(text)
    except ValueError as error:
        raise ConfigError(f"{flag}: {error}") from None
