"""A service that ends at any fault point, then starts again, gives what an undisturbed one gives."""

from __future__ import annotations

import asyncio
import fcntl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from mei.ledger.ranges import consumed_ranges
from mei.ledger.tables import claims
from mei.model import faults
from mei.model.bars import BarArray
from services.ml_service.app import renewal
from services.ml_service.app.instance import Instance, is_dead
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
            desk.die()
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
    heir.now_ms += 60_000
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
    dead.die()
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
    quick.now_ms += 60_000
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


def test_living_service_of_the_same_name_keeps_its_claim(tmp_path: Path) -> None:
    slow = Desk(tmp_path)
    body = train_body(slow.register(BARS[:1000]))
    refused: list[Any] = []

    def take_over(name: str) -> None:
        if name == "learning.model.before_rename":
            faults.install(None)
            refused.append(asyncio.run(Desk(tmp_path).ask_async("POST", "/train", body)).json())

    faults.install(take_over)
    reply = slow.ask("POST", "/train", body)

    assert reply.status_code == 200
    assert [error["code"] for error in refused] == ["claim_busy"]


def test_claim_is_renewed_while_a_fit_outlasts_its_lease(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "RENEW_EVERY_S", 0.005)
    slow, rival = Desk(tmp_path), Desk(tmp_path, service_name="rival")
    body = train_body(slow.register(BARS[:1000]))
    refused: list[Any] = []

    def renewed() -> int:
        with slow.ledger.reader() as conn:
            return conn.execute(select(claims.c.expires_at_ms)).scalar_one()

    def outlast(name: str) -> None:
        if name != "learning.model.before_rename":
            return
        faults.install(None)
        for _ in range(4):
            slow.now_ms += renewal.LEASE_MS // 2
            deadline_s = time.monotonic() + 120
            while renewed() < slow.now_ms + renewal.LEASE_MS:
                assert time.monotonic() < deadline_s, "the claim is not renewed"
                time.sleep(0.005)
        rival.now_ms = slow.now_ms
        refused.append(asyncio.run(rival.ask_async("POST", "/train", body)).json())

    faults.install(outlast)
    reply = slow.ask("POST", "/train", body)

    assert reply.status_code == 200, reply.text
    assert [error["code"] for error in refused] == ["claim_busy"]


def test_files_of_ended_incarnations_are_swept_and_those_of_the_living_stay(tmp_path: Path) -> None:
    living, dead = Desk(tmp_path), Desk(tmp_path)
    dead.die()
    last = Desk(tmp_path)

    owners = {desk.app.state.instance.owner.partition("@")[2] for desk in (living, last)}
    assert {path.stem for path in (tmp_path / "models" / ".instances").iterdir()} == owners


def test_two_who_ask_at_once_whether_a_service_is_dead_do_not_take_each_other_for_it(
    tmp_path: Path,
) -> None:
    dead = Instance(tmp_path, "ml", "one")
    dead.end()
    with (tmp_path / ".instances" / "one.lock").open() as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        assert is_dead(tmp_path, "ml@one")


def test_service_killed_and_restarted_trains_at_once(tmp_path: Path) -> None:
    dead = Desk(tmp_path)
    body = train_body(dead.register(BARS[:1000]))
    Killer("ledger.claim.after_commit")
    with pytest.raises(Killed):
        dead.ask("POST", "/train", body)
    faults.install(None)
    dead.die()

    assert Desk(tmp_path).ask("POST", "/train", body).status_code == 200


@pytest.mark.slow
def test_lock_of_a_killed_process_falls_with_it(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from services.ml_service.app.instance import Instance\n"
        "print(Instance(pathlib.Path(sys.argv[1]), 'ml', 'one').owner, flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
    ) as process:  # fmt: skip
        assert process.stdout is not None
        owner = process.stdout.readline().decode().strip()
        while_alive = is_dead(tmp_path, owner)
        process.kill()
        process.wait()

    assert (owner, while_alive, is_dead(tmp_path, owner)) == ("ml@one", False, True)
    assert not is_dead(tmp_path, "ml@unknown")
