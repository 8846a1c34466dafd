"""Chunks of the live stream from ingester to trainer: trained on, spent, and deleted when nobody needs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mei.learning.features import PREDICT_WARM_UP_BARS
from services.data_ingester.app.chunker import delete_spent
from services.ml_service.app.main import create_app as create_ml_service
from services.ml_service.app.settings import Settings as MlSettings
from tests.data_ingester.fake_exchange import FakeExchange
from tests.data_ingester.fake_market import DAY_MS, HOUR_MS, MINUTE_MS, START_MS
from tests.data_ingester.house import House, ask, files_of, table

CHUNK_ROWS = 120
WINDOW_DAYS = 1.0


class Loop:
    """An ingester and a trainer on one ledger and one incoming folder, whose clocks are the exchange's."""

    def __init__(
        self, folder: Path, exchange: FakeExchange, *, exactly_once: bool, deletes: bool
    ) -> None:
        self.exchange = exchange
        common = {
            "exactly_once": exactly_once,
            "train_window_days": WINDOW_DAYS,
            "data_incoming": folder / "incoming",
            "ledger_db": str(folder / "manifest.sqlite"),
        }
        self.house = House(
            folder,
            exchange,
            now_ms=self.now_ms,
            chunk_rows=CHUNK_ROWS,
            delete_after_process=deletes,
            **common,
        )
        settings = MlSettings(
            models_dir=folder / "models", train_min_points=600, promotion_min_delta=0.0, **common
        )
        self.trainer = create_ml_service(settings, now_ms=self.now_ms)
        self.folder = folder

    def now_ms(self) -> int:
        """The clock of both."""
        return self.exchange.market.now_ms

    def step(self, hours: int) -> dict[str, Any]:
        """Time passes; a pass of the ingester; a training of the live stream. The training's answer."""
        self.exchange.market.now_ms += hours * HOUR_MS
        self.house.ingest()
        self.exchange.market.now_ms += MINUTE_MS
        reply = ask(self.trainer, "POST", "/train")
        assert reply.status_code == 200, reply.text
        (result,) = reply.json()["results"]
        return dict(result)

    def states(self) -> Counter[str]:
        """How many chunk files are in each state."""
        return Counter(
            row[0] for row in table(self.folder / "manifest.sqlite", "SELECT state FROM files")
        )

    def on_disk(self) -> set[str]:
        """Paths of chunk files that are there."""
        root = self.folder / "incoming"
        return {path.relative_to(root).as_posix() for path in root.rglob("*.csv")}

    def close(self) -> None:
        """What a shutdown does."""
        self.house.close()


@pytest.fixture
def loop(tmp_path: Path) -> Any:
    """Start loops, each in a folder of its own."""
    made: list[Loop] = []

    def start(exchange: FakeExchange, name: str, **how: bool) -> Loop:
        made.append(Loop(tmp_path / name, exchange, **how))
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.mark.slow
@pytest.mark.parametrize("exactly_once", [False, True], ids=["sliding", "exactly_once"])
def test_deleting_changes_no_training(
    exchange: FakeExchange, loop: Callable[..., Loop], exactly_once: bool
) -> None:
    answers: dict[bool, list[dict[str, Any]]] = {}
    for deletes in (False, True):
        exchange.market.now_ms = START_MS + DAY_MS
        one = loop(exchange, f"deletes_{deletes}", exactly_once=exactly_once, deletes=deletes)
        answers[deletes] = [one.step(hours) for hours in (1, 6, 6, 6, 12, 6, 20, 6)]
        states = one.states()
        n_files = sum(states.values())
        assert n_files > 30
        if deletes:
            assert states["deleted"] > 5
            assert len(one.on_disk()) == n_files - states["deleted"]
            registered = files_of(one.folder / "manifest.sqlite")
            assert one.on_disk() <= {row[-1] for row in registered}
        else:
            assert states["deleted"] == 0
    assert answers[True] == answers[False]
    assert [answer["status"] for answer in answers[True]].count("completed") >= 4


def test_what_is_kept(exchange: FakeExchange, loop: Callable[..., Loop]) -> None:
    exchange.market.now_ms = START_MS + DAY_MS
    one = loop(exchange, "kept", exactly_once=False, deletes=True)
    for hours in (1, 6, 6, 6, 12, 6, 6, 6):
        one.step(hours)
    one.house.ingest()
    files = table(
        one.folder / "manifest.sqlite", "SELECT first_ms, last_ms, state FROM files ORDER BY 1"
    )
    window_ms = files[-1][1] - round(WINDOW_DAYS * DAY_MS) + 1
    warm_up_ms = window_ms - PREDICT_WARM_UP_BARS * MINUTE_MS
    gone = [row for row in files if row[2] == "deleted"]
    assert gone
    assert all(last_ms < warm_up_ms for _, last_ms, _ in gone)
    kept = [row for row in files if row[2] != "deleted"]
    # Not one more than the warm-up, and one for where the window begins.
    old = [
        row
        for row in kept
        if row[2] == "processed" and row[1] < warm_up_ms - CHUNK_ROWS * MINUTE_MS
    ]
    assert len(old) <= 1
    one.close()


def test_a_file_of_a_process_that_died_before_it_deleted_it(
    exchange: FakeExchange, loop: Callable[..., Loop]
) -> None:
    exchange.market.now_ms = START_MS + DAY_MS
    one = loop(exchange, "died", exactly_once=False, deletes=True)
    for hours in (1, 6, 6, 6, 12, 6, 6, 6):
        one.step(hours)
    rows = files_of(one.folder / "manifest.sqlite")
    gone = next(row[-1] for row in rows if row[-1] not in one.on_disk())
    left = one.folder / "incoming" / gone
    left.write_bytes(b"left behind")
    before = one.on_disk() - {gone}
    one.house.ingest()
    assert one.on_disk() == before


def test_nothing_is_deleted_before_it_was_trained_on(
    exchange: FakeExchange, loop: Callable[..., Loop]
) -> None:
    exchange.market.now_ms = START_MS + 4 * DAY_MS
    one = loop(exchange, "untrained", exactly_once=True, deletes=True)
    one.house.ingest()
    assert set(one.states()) == {"downloaded"}
    assert one.states()["downloaded"] == 4 * 1440 // CHUNK_ROWS - 1


def test_deleting_what_is_not_there_is_nothing(
    tmp_path: Path, exchange: FakeExchange, loop: Callable[..., Loop]
) -> None:
    from mei.ledger.database import Ledger
    from mei.ledger.series import SeriesKey

    ledger = Ledger.open(str(tmp_path / "m.sqlite"))
    key = SeriesKey("live", "BTC/USDT", "1m")
    assert delete_spent(ledger, tmp_path, key, window_ms=1, exactly_once=True) == 0
    ledger.close()
