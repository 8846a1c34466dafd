"""A service that ends at any fault point, then starts again, gives what an undisturbed one gives."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mei.ledger.ranges import consumed_ranges
from mei.model import faults
from mei.model.bars import BarArray
from tests.learning.market import STEP_MS, regime_bars
from tests.ml_service.desk import KEY, Desk, predict_body, train_body

BARS = regime_bars(2000)
TRAINING = {"exactly_once": True, "promotion_min_delta": 0.0, "keep_n_models": 1}
POINTS = [
    "ledger.skip_training.before_commit",
    "ledger.skip_training.after_commit",
    "ledger.claim.before_commit",
    "ledger.claim.after_commit",
    "learning.model.before_rename",
    "learning.model.after_rename",
    "ledger.publish.before_commit",
    "ledger.publish.after_commit",
    "ml.train.before_current",
    "learning.current.before_rename",
    "learning.current.after_rename",
    "ml.train.after_current",
    "ledger.record_training.before_commit",
    "ledger.record_training.after_commit",
    "ledger.archive.before_commit",
    "ledger.archive.after_commit",
    "learning.prune.before_remove",
    "learning.prune.after_remove",
    "ml.train.before_reply",
    "ml.predict.before_reply",
]


class Killed(BaseException):
    """Stands for the end of the process: from then on nothing gets past a point."""


class Killer:
    """Ends the 'process' at the n-th hit of a point, and notes which points were passed."""

    def __init__(self, point: str, nth: int = 1) -> None:
        self.point, self.left, self.seen = point, nth, set[str]()
        faults.install(self.on_hit)

    def on_hit(self, name: str) -> None:
        self.seen.add(name)
        if name == self.point:
            self.left -= 1
        if self.left <= 0:
            raise Killed


@pytest.fixture(autouse=True)
def _no_faults() -> Iterator[None]:
    yield
    faults.install(None)


def questions(bars: BarArray) -> list[tuple[str, bytes]]:
    """Trainings at each chunk's close and half a chunk later (skipped), the first too small; then a prediction."""
    asked = []
    for end in range(400, bars.size + 1, 400):
        as_of_ms = int(bars["timestamp"][end - 1]) + STEP_MS
        asked += [("/train", train_body(as_of_ms + late, **TRAINING)) for late in (0, STEP_MS)]
    closes = (bars["timestamp"][-300:] + STEP_MS).tolist()
    return [*asked, ("/predict", predict_body(bars[-900:], closes))]


def register_all(desk: Desk) -> None:
    for first in range(0, BARS.size, 400):
        desk.register(BARS[first : first + 400])


def answers(desk: Desk, folder: Path, **settings: Any) -> list[bytes]:
    """Ask everything in order; when the service dies, start it again and repeat the question."""
    collected = []
    for path, content in questions(BARS):
        try:
            reply = desk.ask("POST", path, content)
        except Killed:
            faults.install(None)
            desk = Desk(folder, **settings)
            reply = desk.ask("POST", path, content)
        assert reply.status_code == 200, reply.text
        collected.append(reply.content)
    return collected


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], Any]:
    folder = tmp_path_factory.mktemp("calm")
    desk = Desk(folder)
    register_all(desk)
    killer = Killer("none")
    found = answers(desk, folder)
    faults.install(None)
    assert set(POINTS) - {"ml.never"} <= killer.seen
    return found, spent(desk)


def spent(desk: Desk) -> Any:
    with desk.ledger.reader() as conn:
        return consumed_ranges(conn, KEY, "exactly_once")


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("point", POINTS)
def test_death_at_any_point_changes_no_answer_and_no_bar(
    undisturbed: tuple[list[bytes], Any], tmp_path: Path, point: str, nth: int
) -> None:
    desk = Desk(tmp_path)
    register_all(desk)
    killer = Killer(point, nth)

    found = answers(desk, tmp_path)

    assert killer.left <= 0 or nth > 1
    assert found == undisturbed[0]
    assert spent(desk) == undisturbed[1]


def test_claim_of_a_dead_service_of_another_name_returns_after_its_lease(tmp_path: Path) -> None:
    dead = Desk(tmp_path, service_name="dead")
    body = train_body(dead.register(BARS[:1000]))
    Killer("ledger.claim.after_commit")
    with pytest.raises(Killed):
        dead.ask("POST", "/train", body)
    faults.install(None)
    heir = Desk(tmp_path, service_name="heir")

    busy = heir.ask("POST", "/train", body)
    heir.now_ms += 16 * 60_000
    later = heir.ask("POST", "/train", body)

    assert (busy.status_code, busy.json()["code"]) == (409, "claim_busy")
    assert later.status_code == 200


def test_restarted_service_gives_back_what_it_held(tmp_path: Path) -> None:
    dead = Desk(tmp_path)
    body = train_body(dead.register(BARS[:1000]))
    Killer("ledger.claim.after_commit")
    with pytest.raises(Killed):
        dead.ask("POST", "/train", body)
    faults.install(None)
    Desk(tmp_path)

    other = Desk(tmp_path, service_name="other").ask("POST", "/train", body)

    assert other.status_code == 200


def test_model_archived_by_a_dead_service_is_deleted_by_its_successor(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    settings = {**TRAINING, "promotion_min_delta": 1e9}
    for first in (0, 1000):
        desk.ask(
            "POST", "/train", train_body(desk.register(BARS[first : first + 1000]), **settings)
        )
    more = regime_bars(2400)[2000:]
    body = train_body(desk.register(more), **settings)
    Killer("ledger.archive.after_commit")
    with pytest.raises(Killed):
        desk.ask("POST", "/train", body)
    faults.install(None)
    folders = tmp_path / "models" / "backtest~run" / "BTC_USDT" / "1m"
    assert len(list(folders.glob("v*"))) == 3

    Desk(tmp_path).ask("POST", "/train", body)

    assert sorted(path.name[:7] for path in folders.glob("v*")) == ["v000001", "v000003"]


def test_trainer_that_lost_its_claim_while_fitting_publishes_nothing(tmp_path: Path) -> None:
    slow, quick = Desk(tmp_path), Desk(tmp_path)
    body = train_body(slow.register(BARS[:1000]))
    taken: list[bytes] = []

    def take_over(name: str) -> None:
        if name == "learning.model.before_rename":
            faults.install(None)
            reply = asyncio.run(quick.ask_async("POST", "/train", body))
            taken.append(reply.content)

    faults.install(take_over)
    reply = slow.ask("POST", "/train", body)

    assert reply.status_code == 200
    assert [reply.content] == taken
    assert len(slow.ask("GET", f"/models?stream={KEY.stream}").json()["models"]) == 1
