"""Funding rates of one perpetual, page after page, into a funding database."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mei.data.funding_writer import FundingRate, FundingUnit, FundingWriter
from mei.data.stamps import length_text, time_text
from mei.model import faults
from mei.workflows.download.candles import HOLE_ATTEMPTS, Means

_HOUR_MS = 3_600_000
#: Between two rates; if it was more, one was left out.
_LONGEST_HOURS = 8
#: Rates that are further apart are asked for again: one may be left out now and then, and booked late.
_GAP_MS = (2 * _LONGEST_HOURS + 1) * _HOUR_MS


@dataclass(frozen=True, slots=True)
class FundingReport:
    """What became of the funding of a symbol. usual_ms: the commonest distance of the new rates, 0 = not known."""

    symbol: str
    market: str
    n_new: int
    newest_ms: int | None
    usual_ms: int
    unit: FundingUnit

    def describe(self) -> str:
        """One line for people; it warns of rates that are not hourly, since every full hour pays the newest one."""
        said = f"{self.symbol} funding of {self.market}: {self.n_new} new rates"
        if self.newest_ms is not None:
            said += f", the newest of {time_text(self.newest_ms)}"
        if self.unit == "hourly":
            said += ", made hourly"
        elif self.usual_ms not in (0, _HOUR_MS):
            said += (
                f"; warning: they are {length_text(self.usual_ms)} apart and stored as the exchange tells them, but a "
                "backtest pays the newest rate every full hour: --hourly-funding divides them"
            )
        return said


def download_funding(
    symbol: str,
    market: str,
    writer: FundingWriter,
    since_ms: int,
    until_ms: int | None,
    means: Means,
    unit: FundingUnit = "as told",
) -> FundingReport:
    """Bring the rates of `market` with since_ms <= time < until_ms (None: the exchange's now) under the name `symbol`.

    Brings what was not asked for yet: what lies before the first time that was (an earlier since_ms), in gaps of more
    than 17 hours, and all that follows the newest rate, even before since_ms, so that no gap arises. unit "hourly": a
    rate is divided by the hours since the one before it, 8 at most, so that paying the newest rate every full hour
    comes to what the exchange took. Raises MeiError; what was written before stays.
    """
    writer.claim(symbol, means.exchange.name, unit)
    exchange = means.exchange
    server_ms = means.patience.ask(f"{exchange.name} its time", exchange.server_time_ms)
    end_ms = server_ms if until_ms is None else min(until_ms - 1, server_ms)
    work = _Work(symbol, market, writer, means, unit)
    from_ms, newest_ms = writer.from_ms(symbol), writer.newest_ms(symbol)
    if from_ms is None or newest_ms is None:
        work.bring(since_ms, end_ms, None, noted_ms=since_ms)
    else:
        if since_ms < from_ms:
            # Whoever is stopped in the middle of it starts with it again.
            writer.note_from(symbol, from_ms)
            work.bring(since_ms, min(from_ms - 1, end_ms), None)
            if from_ms - 1 <= end_ms:
                writer.note_from(symbol, since_ms)
        for left_ms, right_ms in writer.gaps(symbol, max(since_ms, from_ms), _GAP_MS):
            work.bring(left_ms + 1, min(right_ms - 1, end_ms), left_ms)
        work.bring(newest_ms + 1, end_ms, newest_ms)
    return FundingReport(
        symbol, market, work.n_new, writer.newest_ms(symbol), _usual_ms(work.times), unit
    )


class _Work:
    """The rates of a symbol under way. times: of those that came, ascending; n_new: how many were not there."""

    def __init__(
        self, symbol: str, market: str, writer: FundingWriter, means: Means, unit: FundingUnit
    ) -> None:
        self._symbol, self._market, self._writer = symbol, market, writer
        self._means, self._unit = means, unit
        self.n_new = 0
        self.times: list[int] = []

    def bring(
        self, at_ms: int, end_ms: int, before_ms: int | None, noted_ms: int | None = None
    ) -> None:
        """Ask for at_ms <= time <= end_ms, page after page. before_ms: time of the rate before it, None = not known.

        noted_ms goes to the database with the first rates, as that since when everything was asked for.
        """
        if at_ms > end_ms:
            return
        if before_ms is None and self._unit == "hourly":
            # The first rate needs the one before it.
            before_ms = _before(self._market, at_ms, self._means)
        self.times += [] if before_ms is None or before_ms in self.times[-1:] else [before_ms]
        while at_ms <= end_ms:
            page = _page(self._market, at_ms, self._means)
            rates = [rate for rate in page if at_ms <= rate.time_ms <= end_ms]
            if not rates:
                # Some exchanges answer for a stretch after the start only; hourly rates are the closest there are.
                at_ms += self._means.exchange.funding_page_rows() * _HOUR_MS
                continue
            faults.hit("download.funding.received")
            at_ms = rates[-1].time_ms + 1
            stored = _hourly(rates, before_ms) if self._unit == "hourly" else rates
            self.n_new += self._writer.add(self._symbol, stored, noted_ms)
            before_ms = rates[-1].time_ms
            self.times += [rate.time_ms for rate in rates]


def _page(market: str, at_ms: int, means: Means) -> list[FundingRate]:
    exchange = means.exchange
    what = f"{exchange.name} funding of {market} at {time_text(at_ms)}"

    def request() -> list[FundingRate]:
        return exchange.funding(market, at_ms, exchange.funding_page_rows())

    rates = means.patience.ask(what, request)
    for _ in range(HOLE_ATTEMPTS):
        if rates or at_ms + 2 * _HOUR_MS > means.now_ms():
            break
        means.patience.sleep(means.hole_wait_s)
        rates = means.patience.ask(what, request)
    return rates


def _before(market: str, at_ms: int, means: Means) -> int | None:
    """Time of the newest rate before `at_ms`; None when there is none within two of the longest distances."""
    rates = _page(market, at_ms - 2 * _LONGEST_HOURS * _HOUR_MS, means)
    return max((rate.time_ms for rate in rates if rate.time_ms < at_ms), default=None)


def _hourly(rates: list[FundingRate], before_ms: int | None) -> list[FundingRate]:
    """Rates of an hour; the very first rate of a market is of as many as the second, or 8."""
    if before_ms is None:
        second_ms = rates[1].time_ms if len(rates) > 1 else rates[0].time_ms + 8 * _HOUR_MS
        before_ms = 2 * rates[0].time_ms - second_ms
    made = []
    for rate in rates:
        hours = min(max(round((rate.time_ms - before_ms) / _HOUR_MS), 1), _LONGEST_HOURS)
        made.append(rate._replace(rate=rate.rate / hours))
        before_ms = rate.time_ms
    return made


def _usual_ms(times: list[int]) -> int:
    if len(times) < 2:
        return 0
    # Exchanges book a few ms after the hour.
    distances = np.round(np.diff(np.array(times)) / 60_000).astype(np.int64) * 60_000
    values, counts = np.unique(distances, return_counts=True)
    return int(values[np.argmax(counts)])
