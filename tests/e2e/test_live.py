"""Profile `live`: candles from an exchange, trainings by the clock, Mei Alpha on paper, and back, in containers."""

from __future__ import annotations

import shlex
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.data_ingester.fake_exchange import FakeExchange, serving
from tests.data_ingester.fake_market import DAY_MS, MINUTE_MS, Market
from tests.e2e.composed import Composed, docker, state, wait_for
from tests.e2e.test_sweep_worker import wait_until_healthy
from tests.paper_trader.market import CONFIG, make_market
from tests.pipeline.paper import House, deals, hour_ms, replayed
from tests.ports import free_port

INGESTER, SCHEDULER, TRADER = "data_ingester", "ml_scheduler", "paper_trader"
#: After a close the ingester leaves an exchange so long to settle its candle, and some more.
SETTLED_MS = 5_000
N_HOURS, SWEPT, EXPORTED = 420, 300, 370

# The host as a container sees it.
_GATEWAY = """
import socket, struct
routes = [line.split() for line in open("/proc/net/route")]
found = next(int(route[2], 16) for route in routes if route[1] == "00000000")
print(socket.inet_ntoa(struct.pack("<L", found)))
"""


class Live:
    """The profile over folders of a test."""

    def __init__(self, folder: Path, image: str, **settings: str) -> None:
        self.config = folder / "config"
        self.ports = {name: free_port() for name in (INGESTER, SCHEDULER, TRADER)}
        (folder / "research").mkdir()
        self.stack = Composed(
            folder / "stack",
            image,
            folder / "research",
            {
                "COMPOSE_PROFILES": "live",
                "CANDLES_DIR": str(folder / "candles_dbs"),
                "CONFIG_DIR": str(self.config),
                **{f"{name.upper()}_PORT": str(port) for name, port in self.ports.items()},
                **settings,
            },
        )

    def get(self, service: str, path: str) -> Any:
        """GET; None while nobody answers."""
        try:
            found = httpx.get(f"http://127.0.0.1:{self.ports[service]}{path}", timeout=30)
        except httpx.TransportError:
            return None
        return found.json() if found.status_code == 200 else None

    def up(self, *services: str) -> None:
        """Start them and what they depend on, until they are healthy."""
        self.stack.compose("up", "-d", *services)
        for service in services:
            container = self.stack.container(service)
            try:
                wait_until_healthy(container)
            except AssertionError as error:
                raise AssertionError(
                    f"{service}: {docker('logs', '--tail', '30', container)}"
                ) from error


@pytest.fixture
def stacks() -> Iterator[list[Live]]:
    """What a test starts is removed after it."""
    started: list[Live] = []
    yield started
    for live in started:
        live.stack.down()


def test_from_sweep_to_paper_and_back_in_containers(
    tmp_path: Path, image: str, stacks: list[Live]
) -> None:
    house = House(tmp_path, make_market(tmp_path / "candles_dbs", 12, N_HOURS))
    house.market.feed(hour_ms(SWEPT))
    live = Live(
        tmp_path,
        image,
        PAPER_CLOCK="feed",
        PAPER_INTERVAL="1h",
        PAPER_LOOKBACK="30",
        POLL_SECONDS="0.1",
        BAR_GRACE_SECONDS="0",
    )
    stacks.append(live)
    sweep = ("sweep", "--config", "config/strategy_overrides.yaml", "--sweep-spec", "spec.yaml")
    house.run(*sweep, "--interval", "1h", "--output", "sweep.jsonl")
    live.up(TRADER)
    assert live.get(TRADER, "/state")["as_of_ms"] == hour_ms(SWEPT)

    # Deployed from outside; the container is restarted by RESTART_COMMAND.
    container = live.stack.container(TRADER)
    begun = state(container)["StartedAt"]
    restart = shlex.join(["docker", "restart", "-t", "5", container])
    trading_db = live.stack.results / "trading_engine.db"
    house.environment |= {"RESTART_COMMAND": restart, "AI_QUANT_PAPER_DB_PATH": str(trading_db)}
    deploy = ("deploy_sweep.py", "--sweep-results", "sweep.jsonl", "--rank", "1")
    house.run(*deploy, "--dry-run")
    house.run(*deploy, "--close-paper", "--restart", "--yes")
    assert state(container)["StartedAt"] != begun
    wait_until_healthy(container)

    def come(until_ms: int) -> dict[str, Any]:
        house.market.feed(until_ms)
        wait_for(
            lambda: (live.get(TRADER, "/state") or {}).get("as_of_ms") == until_ms,
            f"the trader is at {until_ms}",
        )
        found: dict[str, Any] = live.get(TRADER, "/state")
        return found

    come(hour_ms(310))
    held = come(hour_ms(EXPORTED))
    assert held["positions"]
    n_before = len(live.get(TRADER, "/trades?limit=10000")["trades"])
    export = ("export_state.py", "--source", "paper", "--db", str(trading_db), "--format", "v2")
    house.run(*export, "--output", "v2.json")
    docker("kill", "-s", "KILL", container)
    docker("start", container)
    wait_until_healthy(container)
    come(hour_ms(N_HOURS))
    paper = deals(live.get(TRADER, "/trades?limit=10000")["trades"])
    assert len(paper) - n_before > 10
    assert replayed(house.replay("second.json", "--init-state", "v2.json")) == paper[n_before:]
    whole = house.replay("whole.json", "--start-ts", str(hour_ms(SWEPT) + 1))
    assert replayed(whole) == paper


def test_candles_are_ingested_trained_on_and_traded(
    tmp_path: Path, image: str, stacks: list[Live]
) -> None:
    gateway = docker("run", "--rm", image, "python", "-c", _GATEWAY)
    now_ms = minute_ms()
    market = Market(now_ms=now_ms + SETTLED_MS, listed_ms=now_ms - DAY_MS)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "strategy_overrides.yaml").write_text(CONFIG)
    (tmp_path / "candles_dbs").mkdir()
    with serving(FakeExchange(market=market), gateway) as exchange:
        live = Live(
            tmp_path,
            image,
            EXCHANGE_URL=exchange.url,
            EXCHANGE_PAUSE_MS="0",
            SYMBOLS="BTC/USDT",
            TIMEFRAME="1m",
            INGEST_SINCE=str(now_ms - DAY_MS),
            INGEST_SECONDS="1",
            CHUNK_ROWS="100",
            DELETE_AFTER_PROCESS="true",
            EXACTLY_ONCE="true",
            TRAIN_MIN_POINTS="600",
            RETRAIN_CRON="* * * * *",
            PAPER_INTERVAL="1m",
            PAPER_LOOKBACK="30",
            BAR_GRACE_SECONDS="3600",
            POLL_SECONDS="0.5",
        )
        stacks.append(live)
        live.up(INGESTER, SCHEDULER, TRADER)

        def bars() -> int:
            marks = (live.get(INGESTER, "/watermarks") or {"series": []})["series"]
            return int(marks[0]["bars"]) if marks else 0

        wait_for(lambda: bars() == DAY_MS // MINUTE_MS, "the day is ingested")
        # More closes; the trader takes them.
        wait_for(lambda: minute_ms() > now_ms, "a minute passes")
        later_ms = minute_ms()
        market.now_ms = later_ms + SETTLED_MS
        wait_for(
            lambda: (live.get(TRADER, "/state") or {}).get("newest_bar_ms") == later_ms,
            "the trader has the newest bar",
        )
        model = f"{live.stack.url('ml_service')}/model"
        wait_for(lambda: httpx.get(model, timeout=30).status_code == 200, "a model serves")
        assert httpx.get(model, timeout=30).json()["stream"] == "live"
        wait_for(lambda: n_deleted(live) > 0, "chunks that were trained on are deleted")
        with closing(sqlite3.connect(live.stack.ledger())) as ledger:
            asked = ledger.execute("SELECT DISTINCT as_of_ms % 60000 FROM trainings").fetchall()
        assert asked == [(0,)]


def minute_ms() -> int:
    """The newest whole minute of this machine's clock."""
    return time.time_ns() // 1_000_000 // MINUTE_MS * MINUTE_MS


def n_deleted(live: Live) -> int:
    """Chunk files deleted so far, by the ledger."""
    marks = live.get(INGESTER, "/watermarks")["series"]
    return int(marks[0]["chunk_files"].get("deleted", 0))
