"""Candles, and the undisturbed run every other run is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mei.data.sample import write_sample
from tests.survival.stack import RUNNER, Stack

#: Small enough to run in seconds, rich enough to train, promote, reject and trade.
SMALL = {
    "SYMBOLS": "BTC/USDT",
    "CHUNK_ROWS": "120",
    "TRAIN_CRON_MINUTES": "120",
    "TRAIN_MIN_POINTS": "300",
    "TRAIN_WINDOW_DAYS": "0.5",
    "HMM_STATES": "4",
    "PROMOTION_MIN_DELTA": "0.0",
    "KEEP_N_MODELS": "1",
    "BATCH_BARS": "200",
    "END_TS": "2024-01-03T12:00",
}


@pytest.fixture(scope="session")
def research(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("candles") / "research"
    write_sample(folder, symbols=("BTC/USDT",), days=4)
    return folder


@pytest.fixture(scope="session", params=["sliding", "exactly_once"])
def settings(request: pytest.FixtureRequest, research: Path) -> dict[str, str]:
    return {
        **SMALL,
        "RESEARCH_DIR": str(research),
        "EXACTLY_ONCE": "true" if request.param == "exactly_once" else "false",
    }


@pytest.fixture(scope="session")
def undisturbed(
    settings: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """Outputs of one embedded run nobody touched."""
    stack = Stack(tmp_path_factory.mktemp("undisturbed"), settings, embedded=True)
    stack.start(RUNNER)
    assert stack.finish() == 0, stack.log_of(RUNNER)
    return stack.outputs()


@pytest.fixture
def stack(tmp_path: Path, settings: dict[str, str]) -> Iterator[Stack]:
    made = Stack(tmp_path / "stack", settings)
    yield made
    made.stop()
