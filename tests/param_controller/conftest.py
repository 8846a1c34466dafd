"""A param_controller in process, on a manifest of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI

from mei.model.http import ErrorBody
from services.param_controller.app.main import create_app
from services.param_controller.app.settings import Settings

NOW_MS = 1_700_000_000_000


@dataclass
class Controller:
    """The app, and synchronous calls of it."""

    app: FastAPI

    def call(self, method: str, path: str, body: Any = None) -> httpx.Response:
        """One request; a body that is not bytes goes as JSON."""

        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            content = body if body is None or isinstance(body, bytes) else orjson.dumps(body)
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, content=content)

        return asyncio.run(send())

    def get(self, path: str) -> Any:
        """GET that must succeed, parsed."""
        reply = self.call("GET", path)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def post(self, path: str, body: Any) -> Any:
        """POST that must succeed, parsed."""
        reply = self.call("POST", path, body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def refused(self, method: str, path: str, body: Any = None) -> tuple[int, ErrorBody]:
        """A request that must fail, in the one shape."""
        reply = self.call(method, path, body)
        assert reply.status_code >= 400, reply.text
        assert set(reply.json()) == {"code", "message"}
        return reply.status_code, ErrorBody(**reply.json())


def open_controller(ledger: Path, now_ms: int = NOW_MS, **settings: Any) -> Controller:
    """A controller on a manifest, which others may have open too."""
    settings = {"symbols": "BTC/USDT,ETH_USDT", "strategies": "", "policy": "thompson", **settings}
    return Controller(
        create_app(Settings(ledger_db=str(ledger), **settings), now_ms=lambda: now_ms)
    )


@pytest.fixture
def ledger_path(tmp_path: Path) -> Path:
    return tmp_path / "shared" / "manifest.sqlite"


@pytest.fixture
def controller(ledger_path: Path) -> Controller:
    return open_controller(ledger_path)
