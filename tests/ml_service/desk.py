"""An ml_service on a ledger and chunk files of its own, with a clock that the test sets."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import orjson

from mei.data.chunks import write_chunk
from mei.ledger.database import Ledger
from mei.ledger.files import ChunkFile, register_file
from mei.ledger.series import SeriesKey, ranges_of
from mei.model.bars import BarArray
from services.ml_service.app.main import create_app
from services.ml_service.app.settings import Settings
from tests.learning.market import STEP_MS

KEY = SeriesKey("backtest/run", "BTC/USDT", "1m")
SMALL = {"train_min_points": 500, "hmm_states": 2}


class Desk:
    """One service. `folder` may be shared by several desks: they then share ledger, chunks and models."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.now_ms = 1_800_000_000_000
        values = {
            "ledger_db": str(folder / "manifest.sqlite"),
            "data_incoming": folder / "incoming",
            "models_dir": folder / "models",
            **settings,
        }
        self.settings = Settings(**values)
        self.app = create_app(self.settings, now_ms=lambda: self.now_ms)
        self.ledger = Ledger.open(self.settings.ledger_db)

    def die(self) -> None:
        """Lose what the end of a process loses: the lock that shows it lives."""
        self.app.state.instance.end()

    def register(self, bars: BarArray, at_ms: int | None = None, key: SeriesKey = KEY) -> int:
        """Write and register one chunk; returns the time it is known (its last close unless told)."""
        known_ms = int(bars["timestamp"][-1]) + STEP_MS if at_ms is None else at_ms
        content = write_chunk(
            self.settings.data_incoming, key.stream, key.symbol, key.timeframe, bars
        )
        file = ChunkFile(
            content.sha256,
            content.path,
            content.first_ms,
            content.last_ms,
            content.n_bars,
            known_ms,
            ranges_of(bars["timestamp"], STEP_MS),
        )
        with self.ledger.unit_of_work() as unit:
            register_file(unit.connection, key, file)
            unit.commit("register")
        return known_ms

    def ask(self, method: str, path: str, content: bytes | None = None) -> httpx.Response:
        """One request in process."""
        return asyncio.run(self.ask_async(method, path, content))

    async def ask_async(
        self, method: str, path: str, content: bytes | None = None
    ) -> httpx.Response:
        """One request in process, from a running loop."""
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://ml", timeout=None
        ) as client:
            return await client.request(method, path, content=content)

    def train(self, as_of_ms: int, *, key: SeriesKey = KEY, **training: Any) -> dict[str, Any]:
        """The one result of a training that must be answered with 200."""
        reply = self.ask("POST", "/train", train_body(as_of_ms, key=key, **training))
        assert reply.status_code == 200, reply.text
        (result,) = reply.json()["results"]
        return result

    def predict(self, bars: BarArray, as_of_ms: list[int], key: SeriesKey = KEY) -> dict[str, Any]:
        """An answer of /predict that must be 200."""
        reply = self.ask("POST", "/predict", predict_body(bars, as_of_ms, key))
        assert reply.status_code == 200, reply.text
        answer: dict[str, Any] = reply.json()
        return answer


def train_body(as_of_ms: int, *, key: SeriesKey = KEY, **training: Any) -> bytes:
    """Body of /train with small models unless told otherwise."""
    return orjson.dumps({**key._asdict(), "as_of_ms": as_of_ms, "training": {**SMALL, **training}})


def predict_body(bars: BarArray, as_of_ms: list[int], key: SeriesKey = KEY) -> bytes:
    """Body of /predict."""
    columns = {name: bars[name].tolist() for name in bars.dtype.names}
    return orjson.dumps({**key._asdict(), "as_of_ms": as_of_ms, "bars": columns})
