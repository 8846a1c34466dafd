"""How long is waited between two requests, and when not any more."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from mei.model.errors import ServiceUnavailableError
from mei.workflows.download.exchange import ExchangeTerms
from mei.workflows.download.patience import LONGEST_WAIT_S, PassingFault, Patience
from mei.workflows.download.run import DownloadRequest, run_download
from tests.data_ingester.fake_exchange import FakeExchange, Reply, broken, busy
from tests.data_ingester.fake_market import HOUR_MS, START_MS


def request_of(exchange: FakeExchange, folder: Path) -> DownloadRequest:
    """An hour of candles."""
    return DownloadRequest(
        ExchangeTerms("binance", exchange.url, 0.0),
        ("BTC/USDT",),
        ("1m",),
        START_MS,
        START_MS + HOUR_MS,
        folder,
    )


def waits_of(exchange: FakeExchange, folder: Path, *replies: Reply) -> list[float]:
    """How long a download of an hour slept when the exchange answered so first."""
    exchange.plan.extend(replies)
    waits: list[float] = []
    run_download(
        request_of(exchange, folder), now_ms=lambda: 0, sleep=waits.append, tell=lambda _: None
    )
    return waits


def test_waits_double(exchange: FakeExchange, tmp_path: Path) -> None:
    assert waits_of(exchange, tmp_path, *[broken()] * 5) == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_the_server_says_how_long(exchange: FakeExchange, tmp_path: Path) -> None:
    replies = (
        busy(429, "7"),
        busy(418, "120.5"),
        busy(429, None),
        Reply(503, b"", {"Retry-After": "3"}),
    )
    assert waits_of(exchange, tmp_path, *replies) == [7.0, 120.5, 4.0, 3.0]


def test_the_server_says_until_when(exchange: FakeExchange, tmp_path: Path) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    long_ago = format_datetime(datetime(2020, 1, 1, tzinfo=UTC), usegmt=True)
    waits = waits_of(exchange, tmp_path, busy(429, later), busy(429, long_ago), busy(429, "soon"))
    assert 60 < waits[0] <= 90
    assert waits[1:] == [0.0, 4.0]


def test_a_hole_is_waited_for(exchange: FakeExchange, tmp_path: Path) -> None:
    exchange.market.missing = {START_MS + 120_000}
    assert waits_of(exchange, tmp_path) == [1.0, 1.0]


def test_waits_and_attempts_are_bounded() -> None:
    waits: list[float] = []

    def never() -> None:
        raise PassingFault("it is raining")

    patience = Patience(waits.append, lambda _: None, attempts=10)
    with pytest.raises(
        ServiceUnavailableError, match="not in 10 attempts, the last: it is raining"
    ):
        patience.ask("the sky", never)
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_WAIT_S, LONGEST_WAIT_S, LONGEST_WAIT_S]


def test_every_wait_is_told() -> None:
    told: list[str] = []
    answers = iter([PassingFault("rain", 2.5), PassingFault("hail")])

    def at_last() -> int:
        fault = next(answers, None)
        if fault is not None:
            raise fault
        return 5

    assert Patience(lambda _: None, told.append).ask("the sky", at_last) == 5
    assert told == ["the sky: rain; asking again in 2.5 s", "the sky: hail; asking again in 2 s"]
