"""A data_ingester in this process, on folders and a fake exchange of its own, asked over its real routes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from services.data_ingester.app.main import create_app
from services.data_ingester.app.settings import Settings
from tests.data_ingester.fake_exchange import FakeExchange


def settings_of(folder: Path, fake: FakeExchange, /, **more: Any) -> dict[str, Any]:
    """Settings of a quick service below `folder`."""
    return {
        "exchange_url": fake.url,
        "exchange_pause_ms": 0.0,
        "exchange_attempts": 4,
        "exchange_retry_seconds": 0.001,
        "ingest_since": "2024-01-01",
        "candles_dir": folder / "candles_dbs",
        "data_incoming": folder / "incoming",
        "ledger_db": str(folder / "manifest.sqlite"),
        "chunk_rows": 500,
        **more,
    }


def ask(app: Any, method: str, path: str, content: Any = None) -> httpx.Response:
    """One request; `content` is sent as JSON, bytes as they are."""

    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://service", timeout=None
        ) as client:
            raw = content if isinstance(content, bytes) else json.dumps(content).encode()
            return await client.request(method, path, content=None if content is None else raw)

    return asyncio.run(go())


class House:
    """One service."""

    def __init__(
        self,
        folder: Path,
        exchange: FakeExchange,
        *,
        now_ms: Callable[[], int] | None = None,
        **more: Any,
    ) -> None:
        """now_ms: the local clock, None = this machine's."""
        self.folder = folder
        self.exchange = exchange
        self.settings = Settings(**settings_of(folder, exchange, **more))
        self.app = create_app(self.settings, **({} if now_ms is None else {"now_ms": now_ms}))

    def ask(self, method: str, path: str, content: Any = None) -> httpx.Response:
        """One request."""
        return ask(self.app, method, path, content)

    def ingest(self, **body: Any) -> dict[str, Any]:
        """A pass that must go well; the report of its first series."""
        reply = self.ask("POST", "/ingest_once", body or None)
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()["series"][0]
        return found

    def watermark(self) -> dict[str, Any]:
        """How far the first series is."""
        reply = self.ask("GET", "/watermarks")
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()["series"][0]
        return found

    def close(self) -> None:
        """What a shutdown does."""
        self.app.state.close()


def table(path: Path, query: str) -> list[tuple[Any, ...]]:
    """Rows of a database, read with plain sqlite3."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


def candles_of(path: Path) -> list[tuple[Any, ...]]:
    """Every bar of a candle database, in order."""
    return table(
        path, "SELECT symbol, interval, t, t_close, o, h, l, c, v FROM candles ORDER BY 1, 2, 3"
    )


def empty_of(path: Path) -> list[tuple[Any, ...]]:
    """Everything known to be empty, in order."""
    return table(path, "SELECT * FROM known_empty ORDER BY 1, 2, 3, 4")


def files_of(ledger: Path) -> list[tuple[Any, ...]]:
    """Chunk files as the ledger has them, in order."""
    return table(
        ledger,
        "SELECT symbol, timeframe, first_ms, last_ms, n_bars, sha256, path FROM files"
        " WHERE stream = 'live' ORDER BY 1, 2, 3",
    )
