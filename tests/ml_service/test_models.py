"""Who is champion, which files are kept, and where `current` points."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from mei.ledger.database import Ledger
from mei.model import faults
from tests.learning.market import STEP_MS, regime_bars
from tests.ml_service.desk import KEY, Desk

CHUNK_BARS = 300


@pytest.fixture(autouse=True)
def _no_faults() -> Iterator[None]:
    yield
    faults.install(None)


def series_folder(desk: Desk) -> Path:
    return desk.settings.models_dir / "backtest~run" / "BTC_USDT" / "1m"


def versions_on_disk(desk: Desk) -> set[int]:
    return {int(path.name[1:7]) for path in series_folder(desk).glob("v*")}


def current(desk: Desk) -> int:
    return int((series_folder(desk) / "current").readlink().name[1:7])


def grow(desk: Desk, n_trainings: int, **training: Any) -> list[dict[str, Any]]:
    bars = regime_bars(600 + n_trainings * CHUNK_BARS)
    desk.register(bars[:600])
    return [
        desk.train(desk.register(bars[first : first + CHUNK_BARS]), **training)
        for first in range(600, bars.size, CHUNK_BARS)
    ]


def body(as_of_ms: int) -> bytes:
    return orjson.dumps({**KEY._asdict(), "as_of_ms": as_of_ms})


def test_pruning_keeps_the_newest_and_a_champion_of_any_age(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    results = grow(desk, 6, keep_n_models=2, promotion_min_delta=1e9)

    assert [r["champion_version"] for r in results] == [1] * 6
    assert versions_on_disk(desk) == {1, 5, 6}
    listed = desk.ask("GET", f"/models?stream={KEY.stream}").json()["models"]
    assert [m["decision"] for m in listed] == ["champion", *["archived"] * 3, *["rejected"] * 2]


def test_pruned_model_cannot_be_promoted(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    results = grow(desk, 5, keep_n_models=1, promotion_min_delta=1e9)

    reply = desk.ask("POST", "/models/2/promote", body(results[-1]["as_of_ms"]))

    assert reply.status_code == 409
    assert "raise KEEP_N_MODELS" in reply.json()["message"]


def test_current_follows_promotion_and_rollback(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    as_of_ms = grow(desk, 2, promotion_min_delta=1e9)[-1]["as_of_ms"]
    assert current(desk) == 1

    promoted = desk.ask("POST", "/models/2/promote", body(as_of_ms + 5)).json()
    assert (promoted["version"], promoted["changed"], current(desk)) == (2, True, 2)
    assert desk.ask("POST", "/models/2/promote", body(as_of_ms + 6)).json()["changed"] is False

    back = desk.ask("POST", "/rollback", body(as_of_ms + 10)).json()
    assert (back["version"], current(desk)) == (1, 1)
    path = f"/model?stream={KEY.stream}&as_of_ms="
    served = [desk.ask("GET", f"{path}{as_of_ms + d}").json()["version"] for d in (4, 5, 9, 10)]
    assert served == [1, 2, 2, 1]


def test_current_is_that_of_the_last_decision_whoever_sets_it_last(tmp_path: Path) -> None:
    desk, rival = Desk(tmp_path), Desk(tmp_path, service_name="rival")
    as_of_ms = grow(desk, 2, promotion_min_delta=1e9)[-1]["as_of_ms"]
    later: list[int] = []

    def decide_meanwhile(name: str) -> None:
        if name == "learning.current.before_rename" and not later:
            faults.install(None)
            asked = rival.ask_async("POST", "/models/1/promote", body(as_of_ms + 6))
            later.append(asyncio.run(asked).json()["version"])

    faults.install(decide_meanwhile)
    desk.ask("POST", "/models/2/promote", body(as_of_ms + 5))

    assert later == [1]
    assert current(desk) == 1


def test_a_rollback_goes_back_from_the_champion_of_its_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, rival = Desk(tmp_path), Desk(tmp_path, service_name="rival")
    as_of_ms = grow(desk, 3, promotion_min_delta=1e9)[-1]["as_of_ms"]
    desk.ask("POST", "/models/2/promote", body(as_of_ms + 1))
    begin = Ledger.unit_of_work

    def late(ledger: Ledger) -> Any:
        monkeypatch.setattr(Ledger, "unit_of_work", begin)
        asked = rival.ask_async("POST", "/models/3/promote", body(as_of_ms + 2))
        assert asyncio.run(asked).json()["version"] == 3
        return begin(ledger)

    monkeypatch.setattr(Ledger, "unit_of_work", late)
    back = desk.ask("POST", "/rollback", body(as_of_ms + 3)).json()

    assert (back["version"], current(desk)) == (2, 2)


def test_promotion_hot_reloads_the_model_that_answers(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    as_of_ms = grow(desk, 2, promotion_min_delta=1e9)[-1]["as_of_ms"]
    bars = regime_bars(1300)
    closes = [int(open_ms) + STEP_MS for open_ms in bars["timestamp"][-90:]]
    before = desk.predict(bars, closes)
    assert set(before["model_version"]) == {1}

    desk.ask("POST", "/models/2/promote", body(as_of_ms))

    after = desk.predict(bars, closes)
    assert set(after["model_version"]) == {2}
    assert after["probabilities"] != before["probabilities"]


def test_promotion_cannot_rewrite_the_past(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    as_of_ms = grow(desk, 2, promotion_min_delta=1e9)[-1]["as_of_ms"]
    desk.ask("POST", "/models/2/promote", body(as_of_ms + 5))

    reply = desk.ask("POST", "/models/1/promote", body(as_of_ms + 4))

    assert reply.status_code == 409
    assert "rewrite the past" in reply.json()["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/model", 404, "POST /train makes one"),
        ("POST", "/rollback", 409, "needs an earlier champion"),
        ("POST", "/models/7/promote", 404, "no version 7; it has none"),
        ("POST", "/models/0/promote", 422, "version"),
        ("GET", "/model?symbol=../x", 422, "symbol"),
    ],
)
def test_impossible_wishes_are_answered_clearly(
    tmp_path: Path, method: str, path: str, status: int, message: str
) -> None:
    reply = Desk(tmp_path).ask(method, path)

    assert reply.status_code == status
    assert message in reply.json()["message"]


def test_restart_repairs_the_link_and_sweeps_leftovers(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    as_of_ms = grow(desk, 2, promotion_min_delta=1e9)[-1]["as_of_ms"]
    link = series_folder(desk) / "current"
    link.unlink()
    link.symlink_to("v000099-none")
    (series_folder(desk) / ".tmp-v000003-abc-1").mkdir()

    restarted = Desk(tmp_path)
    restarted.train(as_of_ms)

    assert current(restarted) == 1
    assert list(series_folder(desk).glob(".tmp-*")) == []


@pytest.mark.parametrize("path", ["/train", "/models/1/promote", "/rollback"])
def test_future_of_the_live_stream_is_refused_with_both_times(tmp_path: Path, path: str) -> None:
    desk = Desk(tmp_path)
    future = {"stream": "live", "symbol": "BTC/USDT", "as_of_ms": desk.now_ms + 1}

    reply = desk.ask("POST", path, orjson.dumps(future))
    present = desk.ask("POST", path, orjson.dumps({**future, "as_of_ms": desk.now_ms}))
    elsewhere = desk.ask("POST", path, orjson.dumps({**future, "stream": "backtest/run"}))

    assert (reply.status_code, reply.json()["code"]) == (422, "request")
    assert f"was {desk.now_ms + 1}" in reply.json()["message"]
    assert f"clock says {desk.now_ms}" in reply.json()["message"]
    assert {present.status_code, elsewhere.status_code} <= {200, 404, 409}


def test_ready_names_the_ledger_that_services_share(tmp_path: Path) -> None:
    one, two = Desk(tmp_path / "a"), Desk(tmp_path / "a", service_name="two")
    other = Desk(tmp_path / "b")
    ids = [desk.ask("GET", "/ready").json()["ledger_id"] for desk in (one, two, other)]

    assert ids[0] == ids[1] == one.ledger.ledger_id
    assert ids[2] != ids[0]


def test_ready_names_the_live_champion(tmp_path: Path) -> None:
    desk = Desk(tmp_path, train_min_points=500, hmm_states=2)
    assert desk.ask("GET", "/ready").json()["champions"] == {"BTC/USDT": "no model yet"}
    desk.now_ms = desk.register(regime_bars(1000), key=KEY._replace(stream="live"))

    desk.ask("POST", "/train")

    assert desk.ask("GET", "/ready").json()["champions"] == {"BTC/USDT": 1}
