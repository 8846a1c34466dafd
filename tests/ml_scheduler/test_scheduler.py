"""When ml_scheduler asks for a training, and what it does when nobody answers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from mei.model.errors import ConfigError, RequestError, ServiceUnavailableError
from services.ml_scheduler.app.cron import Cron
from services.ml_scheduler.app.main import create_app
from services.ml_scheduler.app.scheduler import Scheduler
from services.ml_scheduler.app.settings import Settings

MINUTE_MS = 60_000


def at(text: str) -> int:
    """Epoch ms of a time in UTC."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


class Service:
    """What ml_service was asked for; `faults`: what to raise first."""

    def __init__(self, *faults: Exception) -> None:
        self.asked: list[int] = []
        self.faults = list(faults)
        self.heard = threading.Event()

    def __call__(self, as_of_ms: int) -> dict[str, Any]:
        self.asked.append(as_of_ms)
        self.heard.set()
        if self.faults:
            raise self.faults.pop(0)
        return {"results": [{"as_of_ms": as_of_ms}]}


class Clock:
    """A clock that is set by hand."""

    def __init__(self, text: str) -> None:
        self.ms = at(text)

    def __call__(self) -> int:
        return self.ms


@pytest.mark.parametrize(
    ("line", "now", "latest", "following"),
    [
        ("0 */6 * * *", "2026-03-01T11:59:59.999", "2026-03-01T06:00", "2026-03-01T12:00"),
        ("0 */6 * * *", "2026-03-01T12:00", "2026-03-01T12:00", "2026-03-01T18:00"),
        ("0 */6 * * *", "2026-03-01T12:00:00.001", "2026-03-01T12:00", "2026-03-01T18:00"),
        ("30 2 * * 1", "2026-03-03T00:00", "2026-03-02T02:30", "2026-03-09T02:30"),
        ("*/15 * * * *", "2026-03-01T00:14", "2026-03-01T00:00", "2026-03-01T00:15"),
    ],
)
def test_moments_of_a_cron_line(line: str, now: str, latest: str, following: str) -> None:
    cron = Cron.parse(line)
    assert cron.latest_ms(at(now)) == at(latest)
    assert cron.next_ms(at(now)) == at(following)


@pytest.mark.parametrize(
    "line", ["", "* * * *", "0 0 31 2 *", "61 * * * *", "0 */6 * * * *", "@hourly", "hourly"]
)
def test_what_is_no_cron_line(line: str) -> None:
    with pytest.raises(ConfigError, match="RETRAIN_CRON must"):
        Cron.parse(line)


def test_each_moment_is_asked_for_once_and_a_missed_one_at_the_start() -> None:
    clock, service = Clock("2026-03-01T07:10"), Service()
    scheduler = Scheduler(Cron.parse("0 */6 * * *"), service, clock)
    assert scheduler.step() == 30.0
    clock.ms += 10 * MINUTE_MS
    scheduler.step()
    assert service.asked == [at("2026-03-01T06:00")]
    clock.ms = at("2026-03-01T11:59:50")
    assert scheduler.step() == 10.0
    clock.ms = at("2026-03-01T12:00:00")
    scheduler.step()
    # After a long sleep the newest alone.
    clock.ms = at("2026-03-02T19:00")
    scheduler.step()
    assert service.asked == [
        at(text) for text in ("2026-03-01T06:00", "2026-03-01T12:00", "2026-03-02T18:00")
    ]
    assert scheduler.schedule.n_answered == 3


def test_a_clock_that_goes_back_asks_for_nothing_again() -> None:
    clock, service = Clock("2026-03-01T12:00:01"), Service()
    scheduler = Scheduler(Cron.parse("0 */6 * * *"), service, clock)
    scheduler.step()
    clock.ms = at("2026-03-01T11:59:59")
    scheduler.step()
    assert service.asked == [at("2026-03-01T12:00")]


def test_a_service_that_is_away_is_asked_again_for_the_same_moment() -> None:
    clock, service = Clock("2026-03-01T06:00"), Service(ServiceUnavailableError("it is away"))
    scheduler = Scheduler(Cron.parse("0 */6 * * *"), service, clock)
    scheduler.step()
    assert scheduler.schedule.fault == "it is away"
    scheduler.step()
    assert service.asked == [at("2026-03-01T06:00")] * 2
    assert scheduler.schedule.fault is None


def test_a_refusal_is_told_and_not_repeated_before_the_next_moment() -> None:
    clock, service = Clock("2026-03-01T06:00"), Service(RequestError("the window is too short"))
    scheduler = Scheduler(Cron.parse("0 */6 * * *"), service, clock)
    scheduler.step()
    scheduler.step()
    assert service.asked == [at("2026-03-01T06:00")]
    assert (scheduler.schedule.fault, scheduler.schedule.n_refused) == (
        "the window is too short",
        1,
    )
    clock.ms = at("2026-03-01T12:00")
    scheduler.step()
    assert scheduler.schedule.fault is None


async def _get(app: Any, path: str) -> httpx.Response:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://scheduler") as client:
        return await client.get(path)


@pytest.fixture
def get() -> Callable[[Any, str], httpx.Response]:
    """GET a path of an app."""
    import asyncio

    return lambda app, path: asyncio.run(_get(app, path))


def test_the_app_asks_and_tells(get: Callable[[Any, str], httpx.Response]) -> None:
    clock, service = Clock("2026-03-01T07:00"), Service(RequestError("no such symbol"))
    app = create_app(Settings(retrain_cron="0 */6 * * *"), now_ms=clock, ask=service)
    try:
        assert service.heard.wait(60)
        while app.state.scheduler.schedule.asked_ms is None:
            assert app.state.scheduler.is_alive
        told = get(app, "/schedule").json()
        assert told["last_ms"] == at("2026-03-01T06:00")
        assert told["next_ms"] == at("2026-03-01T12:00")
        ready = get(app, "/ready")
        assert (ready.status_code, ready.json()["message"]) == (503, "no such symbol")
        assert get(app, "/health").status_code == 200
    finally:
        app.state.scheduler.close()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("RETRAIN_CRON", "every day", "RETRAIN_CRON must be five fields"),
        ("ML_SERVICE", "ml_service:8003", "ML_SERVICE must be a URL"),
        ("TRAIN_TIMEOUT_SECONDS", "0", "TRAIN_TIMEOUT_SECONDS must be"),
        ("SERVICE_TIMEOUT_SECONDS", "soon", "SERVICE_TIMEOUT_SECONDS must be"),
    ],
)
def test_wrong_settings(monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=said):
        create_app()
