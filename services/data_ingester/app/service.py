"""What data_ingester does: passes over its series, one at a time, by request and by the clock."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mei.data.candle_writer import CandleWriter, Series, open_candle_writer
from mei.ledger.database import Ledger
from mei.ledger.files import file_states, watermark_ms
from mei.ledger.series import SeriesKey
from mei.model.bars import interval_ms
from mei.model.errors import (
    MeiError,
    RequestError,
    ServiceUnavailableError,
    StoppedError,
)
from mei.model.http import LIVE_STREAM
from mei.workflows.download.candles import Means, SeriesReport, download_series, window_of
from mei.workflows.download.exchange import open_exchange
from mei.workflows.download.names import database_names
from mei.workflows.download.patience import Patience
from mei.workflows.download.run import claim, database_of, server_time_ms
from mei.workflows.window import parse_timestamp
from services.data_ingester.app.bodies import (
    IngestBody,
    IngestReport,
    SeriesResult,
    Watermark,
    Watermarks,
)
from services.data_ingester.app.chunker import Chunker, delete_spent
from services.data_ingester.app.settings import Settings, variables_named

_log = logging.getLogger("data_ingester")
_Pair = tuple[str, str]
#: How long after its close and INGEST_SECONDS a bar may come, ms.
_LATE_MS = 60_000


@dataclass(slots=True)
class _Progress:
    """What this process knows of a series. first_ms..through_ms: found complete, so not looked at again.

    newest_ms: open of the newest bar, None = there was none when it was looked for last.
    """

    first_ms: int | None = None
    through_ms: int | None = None
    newest_ms: int | None = None
    last_pass_ms: int | None = None
    last_error: str = ""


class IngestService:
    """Brings candles, cuts chunks, deletes spent ones. Raises MeiError. One pass at a time, whoever asks."""

    def __init__(self, settings: Settings, ledger: Ledger, now_ms: Callable[[], int]) -> None:
        """Raises ConfigError for an exchange or a timeframe that there is not; nobody is asked yet."""
        self._settings = settings
        self._ledger = ledger
        self._now_ms = now_ms
        self._names = database_names(settings.symbol_names, base_names=settings.ingest_base_names)
        self._is_closing = threading.Event()
        self._pass = threading.Lock()
        patience = Patience(
            self._sleep, self._tell, settings.exchange_attempts, settings.exchange_retry_seconds
        )
        with variables_named():
            exchange = open_exchange(settings.terms())
            for timeframe in settings.timeframes:
                exchange.require_timeframe(timeframe)
        wait_s = settings.exchange_retry_seconds
        self._means = Means(exchange, patience, now_ms, self._tell, wait_s)
        self._has_markets = False
        self._progress = {pair: _Progress() for pair in self._pairs()}
        self._chunker = Chunker(
            ledger,
            settings.data_incoming,
            settings.chunk_rows,
            settings.chunk_format,
            now_ms,
        )
        self._loop = threading.Thread(target=self._run, name="ingest", daemon=True)

    def start(self) -> None:
        """Begin with passes by the clock, if INGEST_SECONDS says so."""
        if self._settings.ingest_seconds:
            self._loop.start()

    def close(self) -> None:
        """End the pass under way at its next wait or series, and the passes by the clock."""
        self._is_closing.set()
        if self._loop.is_alive():
            self._loop.join(3.0)

    def ingest(self, asked: IngestBody) -> IngestReport:
        """One pass; it waits for the one under way.

        RequestError for what the service is not set to; ServiceUnavailableError, naming them, when series failed: the
        others are done, and the next pass goes on where these stopped.
        """
        pairs = [
            (symbol, timeframe)
            for timeframe in _chosen("timeframes", asked.timeframes, self._settings.timeframes)
            for symbol in _chosen("symbols", asked.symbols, self._settings.symbol_names)
        ]
        until_ms = _until(asked.until)
        with self._pass:
            return self._ingest(pairs, until_ms)

    def watermarks(self) -> Watermarks:
        """How far every series is."""
        return Watermarks(series=[self._watermark(pair) for pair in self._pairs()])

    def readiness(self) -> dict[str, Any]:
        """Facts for /ready."""
        return {
            "ledger_id": self._ledger.ledger_id,
            "exchange": self._settings.exchange,
            "series": len(self._progress),
            "failing": [_name(pair) for pair, known in self._progress.items() if known.last_error],
            "reasons": self._reasons(),
        }

    def _reasons(self) -> list[str]:
        """Why the service does not do its work. One series that fails for a moment is no reason, all of them are."""
        reasons = []
        if self._settings.ingest_seconds and not self._loop.is_alive():
            reasons.append("the thread of passes by the clock has ended")
        failing = {pair: known for pair, known in self._progress.items() if known.last_error}
        if len(failing) == len(self._progress):
            error = next(iter(failing.values())).last_error
            reasons.append(f"every series fails, the first: {error}")
        elif self._settings.ingest_seconds:
            reasons += [
                f"{_name(pair)} is behind and fails: {known.last_error}"
                for pair, known in failing.items()
                if self._is_behind(pair[1], known.newest_ms)
            ]
        return reasons

    def _is_behind(self, timeframe: str, newest_ms: int | None) -> bool:
        """Whether a bar is missing that a pass by the clock brings, by this machine's clock."""
        if newest_ms is None:
            return True
        late_ms = round(self._settings.ingest_seconds * 1000) + _LATE_MS
        return self._now_ms() - newest_ms > 2 * interval_ms(timeframe) + late_ms

    def _run(self) -> None:
        while not self._is_closing.is_set():
            try:
                report = self.ingest(IngestBody())
                _log.info("pass done", extra={"took_ms": report.took_ms})
            except StoppedError:
                return
            except MeiError as error:
                _log.warning("pass failed: %s", error)
            except Exception:
                _log.exception("unexpected error in a pass")
            self._is_closing.wait(self._settings.ingest_seconds)

    def _ingest(self, pairs: list[_Pair], until_ms: int | None) -> IngestReport:
        started_ms = self._now_ms()
        results: list[SeriesResult] = []
        failed: list[str] = []
        for pair in pairs:
            if self._is_closing.is_set():
                raise StoppedError("the service is going down")
            known = self._progress[pair]
            try:
                results.append(self._series(pair, until_ms))
                known.last_pass_ms, known.last_error = self._now_ms(), ""
            except StoppedError:
                raise
            except MeiError as error:
                known.last_error = str(error)
                failed.append(f"{_name(pair)}: {error}")
                _log.warning("series failed", extra={"symbol": pair[0], "reason": str(error)})
        if failed:
            raise ServiceUnavailableError(
                f"{len(failed)} of {len(pairs)} series failed, the others are done; {'; '.join(failed)}"
            )
        return IngestReport(
            exchange=self._settings.exchange,
            took_ms=self._now_ms() - started_ms,
            series=results,
        )

    def _series(self, pair: _Pair, until_ms: int | None) -> SeriesResult:
        symbol, timeframe = pair
        self._load_markets()
        means, known = self._means, self._progress[pair]
        market = means.exchange.market(symbol)
        series = Series(self._names[symbol], timeframe, self._settings.exchange, market)
        server_ms = server_time_ms(means.exchange, means.patience)
        with open_candle_writer(database_of(self._settings.candles_dir, timeframe)) as writer:
            claim(series, writer, self._tell)
            known.newest_ms = _newest_ms(writer, series)
            if known.first_ms is None:
                known.first_ms = self._since_ms(writer, series, server_ms)
            step_ms = interval_ms(timeframe)
            since_ms = known.first_ms if known.through_ms is None else known.through_ms + step_ms
            window = window_of(step_ms, since_ms, until_ms, server_ms)
            try:
                report = download_series(series, writer, window, means, server_ms)
            finally:
                known.newest_ms = _newest_ms(writer, series)
            if report.n_new or report.n_empty or report.n_faulty:
                self._tell(report.describe())
                for line in report.warnings():
                    self._tell(line)
            if report.through_ms is not None:
                known.through_ms = report.through_ms
            n_chunks = self._cut(pair, series, writer, known)
        return _result(pair, report, known, n_chunks, self._delete(pair))

    def _cut(self, pair: _Pair, series: Series, writer: CandleWriter, known: _Progress) -> int:
        if not self._settings.ingest_chunks or known.through_ms is None or known.first_ms is None:
            return 0
        key = _key(pair)
        return self._chunker.cut(key, series, writer, known.first_ms, known.through_ms)

    def _delete(self, pair: _Pair) -> int:
        if not (self._settings.ingest_chunks and self._settings.delete_after_process):
            return 0
        return delete_spent(
            self._ledger,
            self._settings.data_incoming,
            _key(pair),
            window_ms=self._settings.window_ms,
            exactly_once=self._settings.exactly_once,
        )

    def _since_ms(self, writer: CandleWriter, series: Series, server_ms: int) -> int:
        given = self._settings.since_ms()
        if given is not None:
            return given
        ends = writer.ends(series)
        return server_ms - self._settings.window_ms if ends is None else ends[0]

    def _load_markets(self) -> None:
        if self._has_markets:
            return
        exchange, symbols = self._means.exchange, self._settings.symbol_names
        self._means.patience.ask(
            f"{exchange.name} its markets",
            lambda: exchange.load_markets(symbols, with_funding=False),
        )
        self._has_markets = True

    def _watermark(self, pair: _Pair) -> Watermark:
        symbol, timeframe = pair
        known = self._progress[pair]
        series = Series(self._names[symbol], timeframe, self._settings.exchange, symbol)
        path = database_of(self._settings.candles_dir, timeframe)
        n_bars, n_empty, ends = 0, 0, None
        if path.is_file():
            with open_candle_writer(path) as writer:
                n_bars, ends = writer.count(series), writer.ends(series)
                step_ms = interval_ms(timeframe)
                n_empty = sum(
                    (run.last_ms - run.first_ms) // step_ms + 1
                    for run in writer.known_empty(series)
                )
        with self._ledger.reader() as connection:
            states = Counter(file_states(connection, _key(pair)).values())
            chunks_through_ms = watermark_ms(connection, _key(pair))
        return Watermark(
            symbol=symbol,
            timeframe=timeframe,
            exchange=self._settings.exchange,
            bars=n_bars,
            oldest_ms=None if ends is None else ends[0],
            newest_ms=None if ends is None else ends[1],
            empty_slots=n_empty,
            chunks_through_ms=chunks_through_ms,
            chunk_files=dict(sorted(states.items())),
            last_pass_ms=known.last_pass_ms,
            last_error=known.last_error,
        )

    def _pairs(self) -> list[_Pair]:
        settings = self._settings
        return [
            (symbol, frame) for frame in settings.timeframes for symbol in settings.symbol_names
        ]

    def _sleep(self, seconds: float) -> None:
        if self._is_closing.wait(seconds):
            raise StoppedError("the service is going down")

    def _tell(self, line: str) -> None:
        _log.info(line)


def _newest_ms(writer: CandleWriter, series: Series) -> int | None:
    ends = writer.ends(series)
    return None if ends is None else ends[1]


def _name(pair: _Pair) -> str:
    return f"{pair[0]} {pair[1]}"


def _key(pair: _Pair) -> SeriesKey:
    return SeriesKey(LIVE_STREAM, pair[0].partition(":")[0], pair[1])


def _chosen(field: str, asked: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    if asked is None:
        return list(known)
    wanted = [name.replace("_", "/", 1) if field == "symbols" else name for name in asked]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise RequestError(
            f"{field} must be of those the service is set to ({', '.join(known)}), was {', '.join(unknown)}"
        )
    return list(dict.fromkeys(wanted))


def _until(text: str | None) -> int | None:
    try:
        return None if text is None else parse_timestamp(text)
    except ValueError as error:
        raise RequestError(f"until: {error}") from None


def _result(
    pair: _Pair, report: SeriesReport, known: _Progress, n_chunks: int, n_deleted: int
) -> SeriesResult:
    return SeriesResult(
        symbol=pair[0],
        timeframe=pair[1],
        new_bars=report.n_new,
        empty_slots=report.n_empty,
        faulty_rows=report.n_faulty,
        through_ms=known.through_ms,
        newest_closed_ms=report.last_ms,
        new_chunks=n_chunks,
        deleted_chunks=n_deleted,
    )
