"""The service over its real routes: how it stands, trades, pause and resume, and settings that are refused."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.paper_trader.app.main import create_app
from services.paper_trader.app.settings import Settings
from tests.paper_trader.desk import LOOKBACK, Desk
from tests.paper_trader.market import make_market
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
LIMIT_S = 120.0


def environment(desk: Desk) -> dict[str, str]:
    """The settings of a desk's trader."""
    market = desk.request.market
    return {
        "AI_QUANT_PAPER_DB_PATH": desk.request.db,
        "AI_QUANT_KILL_SWITCH_FILE": str(desk.folder / "pause"),
        "PAPER_CONFIG": desk.request.config,
        "PAPER_CANDLES_DB": market.candles_db or "",
        "PAPER_INTERVAL": "1h",
        "PAPER_LOOKBACK": str(LOOKBACK),
        "BAR_GRACE_SECONDS": "0",
        "POLL_SECONDS": "0.05",
    }


class Service:
    """paper_trader in this process, stepped by the test."""

    def __init__(self, desk: Desk, **more: str) -> None:
        self.desk = desk
        self.now_ms = desk.start_ms
        values = {name.lower(): value for name, value in environment(desk).items()}
        settings = Settings.load(**{**values, **more})
        self.app = create_app(settings, now_ms=lambda: self.now_ms, loops=False)

    def step(self, at_ms: int) -> None:
        """Bars come until a moment, which is now."""
        self.now_ms = at_ms
        self.desk.market.feed(at_ms)
        self.app.state.advance(at_ms)

    def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """One request."""

        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://paper") as client:
                return await client.request(
                    method, path, content=None if body is None else json.dumps(body)
                )

        return asyncio.run(go())

    def state(self) -> dict[str, Any]:
        """GET /state."""
        reply = self.ask("GET", "/state")
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path, make_market(tmp_path / "databases", 81, 110))
    desk.market.feed(desk.start_ms)
    return desk


@pytest.fixture
def service(desk: Desk) -> Iterator[Service]:
    service = Service(desk)
    yield service
    service.app.state.close()


def test_state_and_trades(service: Service) -> None:
    desk = service.desk
    first = service.state()
    assert (first["as_of_ms"], first["mode"], first["balance_usd"]) == (
        desk.start_ms,
        "run",
        10_000.0,
    )
    for at_ms in desk.boundaries():
        service.step(at_ms)
        state = service.state()
        if state["positions"] and state["orders"]:
            break
    held = desk.state().held()
    assert [one["symbol"] for one in state["positions"]] == list(held)
    one = state["positions"][0]
    slot = held[one["symbol"]]
    side = 1 if one["side"] == "LONG" else -1
    assert one["unrealised_usd"] == (one["mark"] - one["entry_price"]) * side * one["size"]
    assert (side, one["size"]) == (slot["side"], slot["qty"])
    assert state["equity_usd"] == desk.points()[-1][1]
    assert state["equity_usd"] == pytest.approx(state["balance_usd"] + state["unrealised_usd"])
    assert (state["newest_bar_ms"], state["is_stale"]) == (at_ms, False)
    assert state["config_id"] == desk.state().config_id
    trades = service.ask("GET", "/trades").json()["trades"]
    assert [one["id"] for one in trades] == [row.id for row in desk.rows()]
    assert trades[0]["meta"]["position_id"] == 1
    later = service.ask("GET", f"/trades?since={trades[0]['id']}&limit=1").json()["trades"]
    assert later == trades[1:2]
    since = service.ask("GET", f"/trades?since={trades[-1]['timestamp']}").json()["trades"]
    assert since[-1] == trades[-1]
    service.now_ms += 4 * 3_600_000
    assert service.state()["is_stale"]


def test_pause_and_resume(service: Service) -> None:
    desk = service.desk
    stops = list(desk.boundaries())
    for at_ms in stops[:5]:
        service.step(at_ms)
    paused = service.ask("POST", "/pause").json()
    assert (paused["mode"], paused["why"]) == ("close_only", "asked for over HTTP")
    assert service.ask("POST", "/pause", {"mode": "halt_all"}).json()["mode"] == "halt_all"
    service.step(stops[5])
    assert service.state()["as_of_ms"] == stops[4]
    resumed = service.ask("POST", "/resume").json()
    assert (resumed["mode"], resumed["why"]) == ("run", "")
    service.step(stops[6])
    assert service.state()["as_of_ms"] == stops[6]
    (desk.folder / "pause").write_text("close_only")
    assert service.ask("POST", "/resume").json()["why"] == "pause file"


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("POST", "/pause", {"mode": "run"}, "close_only"),
        ("POST", "/pause", {"mode": "close_only", "for": 3}, "for"),
        ("POST", "/pause", [], "PauseBody"),
        ("GET", "/trades?since=yesterday", None, "yesterday"),
        ("GET", "/trades?since=99999999999999999999", None, "since"),
        ("GET", "/trades?limit=0", None, "limit"),
    ],
)
def test_requests_that_cannot_be_meant(
    service: Service, method: str, path: str, body: Any, said: str
) -> None:
    reply = service.ask(method, path, body)
    assert reply.status_code == 422, reply.text
    assert said in reply.text
    assert service.state()["mode"] == "run"


def test_candles_may_come_after_the_start(tmp_path: Path) -> None:
    desk = Desk(tmp_path, make_market(tmp_path / "databases", 82, 80))
    service = Service(desk)
    state = service.state()
    assert (state["as_of_ms"], state["is_stale"]) == (None, True)
    assert "candle" in state["last_error"]
    assert service.ask("GET", "/ready").status_code == 503
    # What is asked for before there is a state holds for it.
    assert service.ask("POST", "/pause").json()["mode"] == "close_only"
    service.step(desk.start_ms)
    assert (service.state()["as_of_ms"], service.state()["mode"]) == (desk.start_ms, "close_only")
    service.app.state.close()


def test_a_feed_that_is_dead_is_not_ready(service: Service) -> None:
    def reasons() -> list[str]:
        reply = service.ask("GET", "/ready").json()
        return [one for one in reply["reasons"] if "thread" not in one]

    assert reasons() == []
    service.now_ms += 2 * 3_600_000
    assert reasons() == []
    service.now_ms += 1
    (reason,) = reasons()
    assert "the newest one used closed 2025-06-03T12:00:00Z" in reason
    # In a halt no bar is used.
    service.ask("POST", "/pause", {"mode": "halt_all"})
    assert reasons() == []


def started(desk: Desk, more: dict[str, str]) -> subprocess.Popen[str]:
    port = str(free_port())
    # A file takes whatever the service says; a pipe that nobody reads stops it when it is full.
    log = (desk.folder / "service.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "services.paper_trader.app.main", "--port", port],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment(desk), **more, "PORT": port},
        stdout=log,
        stderr=log,
        text=True,
    )
    log.close()
    process.port = port  # type: ignore[attr-defined]
    return process


@pytest.mark.slow
def test_a_process_catches_up_by_itself_and_ends_on_a_signal(desk: Desk) -> None:
    desk.trader.open(desk.start_ms)
    desk.trader.close()
    desk.market.feed(desk.market.end_ms)
    process = started(desk, {})
    try:
        deadline_s = time.monotonic() + LIMIT_S
        state: dict[str, Any] = {}
        while state.get("as_of_ms", 0) < desk.market.end_ms:
            assert time.monotonic() < deadline_s, state
            assert process.poll() is None, (desk.folder / "service.log").read_text()
            time.sleep(0.1)
            try:
                url = f"http://127.0.0.1:{process.port}/state"  # type: ignore[attr-defined]
                with urllib.request.urlopen(url, timeout=10) as reply:
                    state = json.loads(reply.read())
            except OSError:
                continue
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()
        process.wait()
    found = [deal for deal in desk.deals() if deal[0] <= desk.market.end_ms]
    assert found == desk.replayed()[0]


BAD = {
    "POLL_SECONDS": ("0", "greater than 0"),
    "BAR_GRACE_SECONDS": ("-1", "greater than or equal to 0"),
    "MAX_DRAWDOWN_PCT": ("120", "less than or equal to 100"),
    "MAX_DAILY_LOSS_PCT": ("some", "a valid number"),
    "PAPER_INITIAL_BALANCE": ("nan", "finite"),
    "PAPER_LOOKBACK": ("1.5", "a valid integer"),
    "PAPER_UNIVERSE_FILTER": ("maybe", "a valid boolean"),
    "PAPER_INIT_STATE": ("no.json", "must be a file"),
    "PAPER_CONFIG": ("no.yaml", "no.yaml is not"),
    "PAPER_INTERVAL": ("1M", "did you mean 1m"),
    "PAPER_EXIT_INTERVAL": ("2h", "must be shorter"),
    "AI_QUANT_PAPER_DB_PATH": ("/", "is a directory"),
    "REQUIRE_AUTH": ("true", "REQUIRE_AUTH"),
}


@pytest.mark.parametrize("variable", BAD)
def test_settings_that_cannot_be_used(
    desk: Desk, variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    value, said = BAD[variable]
    for name, good in environment(desk).items():
        monkeypatch.setenv(name, good)
    monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sys, "argv", ["paper_trader"])
    from services.paper_trader.app.main import main

    before = sorted(path.name for path in desk.folder.rglob("*"))
    assert main() == 2
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line.startswith("paper_trader: ")]) == 1, lines
    assert said in lines[-1]
    assert sorted(path.name for path in desk.folder.rglob("*")) == before
