"""A download as it is asked for: checked before anything is written, then one series after the other."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mei.data.candle_writer import CandleWriter, Series, open_candle_writer
from mei.data.funding_writer import open_funding_writer
from mei.data.stamps import EARLIEST_MS, time_text
from mei.model.errors import ConfigError
from mei.workflows.download.candles import (
    HOLE_WAIT_S,
    Means,
    SeriesReport,
    download_series,
    require_grid,
    window_of,
)
from mei.workflows.download.exchange import Exchange, ExchangeTerms, open_exchange
from mei.workflows.download.funding import FundingReport, download_funding
from mei.workflows.download.names import database_names
from mei.workflows.download.patience import Patience
from mei.workflows.download.research_files import write_research

FUNDING_DB = "funding_rates.db"


@dataclass(frozen=True, slots=True)
class DownloadRequest:
    """What to bring. since_ms <= open < until_ms (None: the exchange's now), epoch ms UTC.

    candles_dir gets candles_<timeframe>.db and, with_funding, funding_rates.db; research_dir, if given, CSV files.
    """

    exchange: ExchangeTerms
    symbols: tuple[str, ...]
    timeframes: tuple[str, ...]
    since_ms: int
    until_ms: int | None = None
    candles_dir: Path = Path("candles_dbs")
    research_dir: Path | None = None
    with_funding: bool = False
    hourly_funding: bool = False
    base_names: bool = False
    attempts: int = 8
    first_wait_s: float = 1.0
    hole_wait_s: float = HOLE_WAIT_S


@dataclass(frozen=True, slots=True)
class DownloadReport:
    """What became of it, in the order of timeframes and symbols."""

    candles: list[SeriesReport] = field(default_factory=list)
    funding: list[FundingReport] = field(default_factory=list)


def run_download(
    request: DownloadRequest,
    *,
    now_ms: Callable[[], int],
    sleep: Callable[[float], None],
    tell: Callable[[str], None],
) -> DownloadReport:
    """Bring everything asked for; `tell` hears how far it is. Raises MeiError: the same request again goes on."""
    check_request(request)
    names = database_names(request.symbols, base_names=request.base_names)
    means = means_of(request, now_ms=now_ms, sleep=sleep, tell=tell)
    markets = markets_of(request, means)
    funded = {}
    if request.with_funding:
        funded = {symbol: means.exchange.perpetual(market) for symbol, market in markets.items()}
    report = DownloadReport()
    try:
        _bring(request, names, markets, funded, means, report)
    finally:
        # At the end, where it is not lost among what was said of many series; and when a later series fails, too.
        for brought in report.candles:
            for line in brought.warnings():
                tell(line)
    return report


def _bring(
    request: DownloadRequest,
    names: Mapping[str, str],
    markets: Mapping[str, str],
    funded: Mapping[str, str],
    means: Means,
    report: DownloadReport,
) -> None:
    """Bring everything into `report`. names, markets, funded: by symbol as asked for."""
    for timeframe in request.timeframes:
        for symbol, market in markets.items():
            series = Series(names[symbol], timeframe, request.exchange.name, market)
            _bring_candles(series, symbol, request, means, report)
    if funded:
        with open_funding_writer(request.candles_dir / FUNDING_DB) as writer:
            for symbol, market in funded.items():
                brought = download_funding(
                    names[symbol],
                    market,
                    writer,
                    request.since_ms,
                    request.until_ms,
                    means,
                    "hourly" if request.hourly_funding else "as told",
                )
                means.tell(brought.describe())
                report.funding.append(brought)


def check_request(request: DownloadRequest) -> None:
    """Raise ConfigError for what cannot be meant, before anybody is asked."""
    if not request.timeframes:
        raise ConfigError("--timeframe must name one such as 1m, names none")
    for timeframe in request.timeframes:
        if re.fullmatch(r"\d+M", timeframe):
            raise ConfigError(
                f"--timeframe must be a length of time, was {timeframe!r}, which is months: did you mean "
                f"{timeframe.lower()} (minutes)?"
            )
        require_grid(timeframe)
    if request.since_ms < EARLIEST_MS:
        raise ConfigError(
            f"--since must not be before {time_text(EARLIEST_MS)}, was {time_text(request.since_ms)}"
        )
    if request.until_ms is not None and request.until_ms <= request.since_ms:
        raise ConfigError(
            f"--until must be after --since, was {time_text(request.until_ms)} after "
            f"{time_text(request.since_ms)}"
        )
    if request.attempts < 1:
        raise ConfigError(f"--attempts must be 1 or more, was {request.attempts}")


def means_of(
    request: DownloadRequest,
    *,
    now_ms: Callable[[], int],
    sleep: Callable[[float], None],
    tell: Callable[[str], None],
) -> Means:
    """The exchange of a request, not asked yet, and how to ask it."""
    patience = Patience(sleep, tell, request.attempts, request.first_wait_s)
    return Means(open_exchange(request.exchange), patience, now_ms, tell, request.hole_wait_s)


def markets_of(request: DownloadRequest, means: Means) -> dict[str, str]:
    """Symbol as asked for -> the exchange's market. Raises MeiError for a symbol or timeframe that it has not."""
    exchange = means.exchange
    for timeframe in request.timeframes:
        exchange.require_timeframe(timeframe)

    def load() -> None:
        exchange.load_markets(request.symbols, with_funding=request.with_funding)

    means.patience.ask(f"{exchange.name} its markets", load)
    wanted = dict.fromkeys(symbol.strip() for symbol in request.symbols if symbol.strip())
    return {symbol: exchange.market(symbol) for symbol in wanted}


def server_time_ms(exchange: Exchange, patience: Patience) -> int:
    """The exchange's clock, asked for until it answers."""
    return patience.ask(f"{exchange.name} its time", exchange.server_time_ms)


def database_of(candles_dir: Path, timeframe: str) -> Path:
    """Where the candles of a timeframe go."""
    return candles_dir / f"candles_{timeframe}.db"


def claim(series: Series, writer: CandleWriter, tell: Callable[[str], None]) -> None:
    """Note whose bars a series are, and tell of bars whose source nobody noted. Raises ConfigError."""
    n_foreign = writer.claim(series)
    if n_foreign:
        tell(
            f"{series.symbol} {series.interval}: {writer.path} has {n_foreign} bars that were not downloaded; they "
            f"stay, and what is missing comes from {series.source}"
        )


def _bring_candles(
    series: Series, symbol: str, request: DownloadRequest, means: Means, report: DownloadReport
) -> None:
    step_ms = require_grid(series.interval)
    server_ms = server_time_ms(means.exchange, means.patience)
    window = window_of(step_ms, request.since_ms, request.until_ms, server_ms)
    if window.last_ms < window.first_ms:
        raise ConfigError(
            f"--since must lie before the newest closed {series.interval} candle, was "
            f"{time_text(request.since_ms)}; the exchange's clock says {time_text(server_ms)}"
        )
    with open_candle_writer(database_of(request.candles_dir, series.interval)) as writer:
        claim(series, writer, means.tell)
        brought = download_series(series, writer, window, means, server_ms)
        report.candles.append(brought)
        means.tell(brought.describe())
        if request.research_dir is not None:
            for path in write_research(
                writer, series, request.research_dir, symbol.partition(":")[0]
            ):
                means.tell(f"{series.symbol} {series.interval}: wrote {path}")
