"""A sweep_worker in this process, on a market, ledger and results of its own, asked over its real routes."""

from __future__ import annotations

import asyncio
import itertools
import json
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from services.sweep_worker.app.main import create_app
from services.sweep_worker.app.settings import Settings
from tests.sweeps.markets import CHUNK_SIZE, CONFIG, N_HOURS, SPEC
from tests.workflows.databases import HOUR_MS, START_MS

#: The market's last bar, as the end of a window.
LAST_TS = str(START_MS + (N_HOURS - 1) * HOUR_MS)
LIMIT_S = 600.0
_numbers = itertools.count(1)


def body(**more: Any) -> dict[str, Any]:
    """The sweep of `tests.sweeps.markets.sweep_line`, whose folder is the working directory."""
    asked = {
        "config_yaml": CONFIG,
        "sweep_spec_yaml": SPEC,
        "candles_db": "candles_dbs/candles_1h.db",
        "chunk_size": CHUNK_SIZE,
        **more,
    }
    return {name: value for name, value in asked.items() if value is not None}


def change_bars(folder: Path, statement: str, *values: Any) -> None:
    """What a writer of candles does while sweeps run."""
    with closing(sqlite3.connect(folder / "candles_dbs/candles_1h.db")) as database, database:
        database.execute(statement, values)


def add_bar(folder: Path) -> None:
    """The next bar of BTC: outside a window that ends at `LAST_TS`."""
    change_bars(
        folder,
        "INSERT INTO candles SELECT symbol, interval, t + 3600000, t_close + 3600000, o, h, l, c, v, n FROM candles "
        "WHERE symbol = 'BTC' ORDER BY t DESC LIMIT 1",
    )


class Desk:
    """One service; several on one folder share ledger and results."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        values = {
            "ledger_db": str(folder / "manifest.sqlite"),
            "results_dir": folder / "results",
            "sweep_threads": 1,
            **settings,
        }
        self.app = create_app(Settings(**values), new_id=lambda: f"id{next(_numbers)}")

    def ask(self, method: str, path: str, content: Any = None) -> httpx.Response:
        """One request; `content` is sent as JSON, bytes as they are."""

        async def go() -> httpx.Response:
            transport = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://sweeps", timeout=None
            ) as client:
                raw = content if isinstance(content, bytes) else json.dumps(content).encode()
                return await client.request(method, path, content=None if content is None else raw)

        return asyncio.run(go())

    def post(self, **more: Any) -> dict[str, Any]:
        """Ask for a sweep that must be taken; the answer."""
        reply = self.ask("POST", "/sweeps", body(**more))
        assert reply.status_code in (200, 202), reply.text
        found: dict[str, Any] = reply.json()
        return found

    def view(self, job_id: str) -> dict[str, Any]:
        """How far a sweep is."""
        reply = self.ask("GET", f"/sweeps/{job_id}")
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    def wait(self, job_id: str, *states: str) -> dict[str, Any]:
        """Until the sweep is in one of the states (`finished` if none is named)."""
        wanted = states or ("finished",)
        view = self.until(
            lambda: self.view(job_id), lambda view: view["state"] in (*wanted, "failed")
        )
        assert view["state"] in wanted, view
        return view

    @staticmethod
    def until(look: Callable[[], Any], is_so: Callable[[Any], bool]) -> Any:
        """Poll `look()` until it is so."""
        deadline_s = time.monotonic() + LIMIT_S
        while not is_so(found := look()):
            assert time.monotonic() < deadline_s, found
            time.sleep(0.02)
        return found

    def rows(self, job_id: str) -> bytes:
        """The results as they come over HTTP."""
        reply = self.ask("GET", f"/sweeps/{job_id}/results")
        assert reply.status_code == 200, reply.text
        return reply.content

    def close(self) -> None:
        """What a shutdown does."""
        self.app.state.close()
