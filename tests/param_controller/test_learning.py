"""Outcomes and presets: idempotent, refused when they contradict, known from their own time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mei.model import faults
from tests.param_controller.conftest import NOW_MS, Controller, open_controller

LEARN = "/learn/outcome/momentum_breakout/BTC_USDT"
REGISTER = "/preset/register/momentum_breakout/BTC_USDT"
BTC = "/params/momentum_breakout/BTC_USDT"
TRADE = {
    "trade_id": "t1",
    "known_at_ms": 1000,
    "net_pnl_bps": 12.5,
    "features": {"volatility_z": 1.0},
}
MINE = {
    "lookback": 15, "breakout_bps": 1, "stop_bps": 20, "take_profit_bps": 30, "max_hold_bars": 10,
}  # fmt: skip


def test_an_outcome_is_recorded_once_however_often_it_is_told(controller: Controller) -> None:
    told = [controller.post(f"{LEARN}/fast", TRADE) for _ in range(3)]
    assert told[0] == {"trade_id": "t1", "known_at_ms": 1000, "recorded": True}
    assert told[1] == told[2] == {**told[0], "recorded": False}


@pytest.mark.parametrize(
    ("preset", "change"),
    [
        ("slow", {}),
        ("fast", {"net_pnl_bps": 12.6}),
        ("fast", {"known_at_ms": 1001}),
        ("fast", {"features": {}}),
    ],
)
def test_the_same_trade_with_other_content_is_a_conflict(
    controller: Controller, preset: str, change: dict[str, Any]
) -> None:
    controller.post(f"{LEARN}/fast", TRADE)
    status, error = controller.refused("POST", f"{LEARN}/{preset}", {**TRADE, **change})
    assert (status, error.code) == (409, "conflict")
    assert "t1" in error.message


def test_told_without_a_time_it_is_now_and_keeps_that(ledger_path: Path) -> None:
    body = {"trade_id": "t1", "net_pnl_bps": 1.0}
    first = open_controller(ledger_path).post(f"{LEARN}/fast", body)
    assert (first["known_at_ms"], first["recorded"]) == (NOW_MS, True)
    later = open_controller(ledger_path, NOW_MS + 5)
    again = later.post(f"{LEARN}/fast", body)
    assert again == {**first, "recorded": False}


@pytest.mark.parametrize(
    ("path", "change", "status", "said"),
    [
        (f"{LEARN}/quick", {}, 404, "there are fast, medium, slow"),
        ("/learn/outcome/momentum_breakout/XRP_USDT/fast", {}, 404, "BTC_USDT, ETH_USDT"),
        ("/learn/outcome/nope/BTC_USDT/fast", {}, 404, "momentum_breakout"),
        (f"{LEARN}/fast", {"features": {"regime_1": 0.5}}, 422, "regime_0 is missing"),
        (f"{LEARN}/fast", {"features": {"vola": 0.5}}, 422, "vola"),
        (f"{LEARN}/fast", {"known_at_ms": -5}, 422, "known_at_ms"),
        (f"{LEARN}/fast", {"known_at_ms": 2**62}, 422, "known_at_ms"),
        (f"{LEARN}/fast", {"trade_id": ""}, 422, "trade_id"),
    ],
)
def test_outcomes_that_cannot_be_meant_are_refused_and_not_kept(
    controller: Controller, path: str, change: dict[str, Any], status: int, said: str
) -> None:
    found, error = controller.refused("POST", path, {**TRADE, **change})
    assert found == status
    assert said in error.message
    assert controller.post(f"{LEARN}/fast", TRADE)["recorded"] is True


@pytest.mark.parametrize("pnl", [b"NaN", b"1e999", b"-Infinity"])
def test_a_pnl_that_is_no_number_is_refused(controller: Controller, pnl: bytes) -> None:
    body = b'{"trade_id": "t", "known_at_ms": 1, "net_pnl_bps": ' + pnl + b"}"
    status, error = controller.refused("POST", f"{LEARN}/fast", body)
    assert status == 422
    assert "net_pnl_bps" in error.message


def test_a_registered_preset_is_known_from_its_time_on(controller: Controller) -> None:
    body = {"preset_id": "mine", "params": MINE}
    answer = controller.post(f"{REGISTER}?known_at_ms=5000", body)
    assert answer["recorded"] is True
    assert controller.post(f"{REGISTER}?known_at_ms=5000", body)["recorded"] is False
    answer = controller.get(f"{BTC}?as_of_ms=5000&policy=fixed:mine")
    assert answer["presets"] == {"mine": MINE}
    status, error = controller.refused("GET", f"{BTC}?as_of_ms=4999&policy=fixed:mine")
    assert (status, error.message) == (404, "no preset 'mine'; there are fast, medium, slow")


def test_a_batch_is_cut_where_a_preset_became_known(controller: Controller) -> None:
    controller.post(f"{REGISTER}?known_at_ms=5000", {"preset_id": "mine", "params": MINE})
    for i in range(3):
        controller.post(f"{LEARN}/fast", {**TRADE, "trade_id": f"t{i}"})
    answer = controller.post(f"{BTC}/batch", {"as_of_ms": [4999, 5000], "policy": "round_robin"})
    assert answer["policy_state"]["preset"] == ["fast", "mine"]
    body = {"as_of_ms": [4999, 5000], "policy": "fixed:mine"}
    assert controller.refused("POST", f"{BTC}/batch", body)[0] == 404


def test_a_registered_preset_belongs_to_its_stream_and_instrument(controller: Controller) -> None:
    controller.post(
        f"{REGISTER}?known_at_ms=1&stream=backtest/a", {"preset_id": "mine", "params": MINE}
    )
    assert controller.get(f"{BTC}?as_of_ms=9&stream=backtest/a&policy=fixed:mine")
    for path in (BTC, BTC.replace("BTC", "ETH")):
        status, _ = controller.refused("GET", f"{path}?as_of_ms=9&policy=fixed:mine")
        assert status == 404


def test_a_preset_registered_without_a_time_is_known_from_now_and_listed(
    controller: Controller,
) -> None:
    answer = controller.post(REGISTER, {"preset_id": "mine", "params": MINE})
    assert answer["known_at_ms"] == NOW_MS
    instruments = controller.get("/params")["strategies"]["momentum_breakout"]["instruments"]
    assert list(instruments["BTC_USDT"]["presets"]) == ["fast", "medium", "slow", "mine"]
    assert list(instruments["ETH_USDT"]["presets"]) == ["fast", "medium", "slow"]


@pytest.mark.parametrize(
    ("preset", "change", "status", "said"),
    [
        ("mine", {"stop_bps": 501}, 422, "stop_bps must be 10 to 500 bps, found 501"),
        ("mine", {"lookback": 15.5}, 422, "lookback must be a whole number"),
        ("mine", {"stop": 20}, 422, "did you mean 'stop_bps'"),
        ("Mine!", {}, 422, "preset_id"),
        ("fast", {}, 409, "'fast' exists"),
        ("taken", {"stop_bps": 21}, 409, "'taken' exists"),
    ],
)
def test_presets_out_of_bounds_or_taken_are_refused(
    controller: Controller, preset: str, change: dict[str, Any], status: int, said: str
) -> None:
    controller.post(REGISTER, {"preset_id": "taken", "params": MINE})
    body = {"preset_id": preset, "params": {**MINE, **change}}
    found, error = controller.refused("POST", REGISTER, body)
    assert found == status
    assert said in error.message


def test_registering_a_preset_of_the_schema_as_it_is_changes_nothing(
    controller: Controller,
) -> None:
    fast = controller.get(f"{BTC}?as_of_ms=1&policy=fixed:fast")["presets"]["fast"]
    answer = controller.post(REGISTER, {"preset_id": "fast", "params": fast})
    assert (answer["recorded"], answer["known_at_ms"]) == (False, None)


class Died(BaseException):
    """Stands for a kill at a fault point."""


@pytest.mark.parametrize(
    ("point", "is_kept"),
    [
        ("ledger.outcome.before_commit", False),
        ("ledger.outcome.after_commit", True),
        ("params.outcome.before_reply", True),
    ],
)
def test_an_end_around_the_commit_leaves_all_or_nothing(
    ledger_path: Path, point: str, is_kept: bool
) -> None:
    def die(name: str) -> None:
        if name == point:
            raise Died

    faults.install(die)
    try:
        with pytest.raises(Died):
            open_controller(ledger_path).post(f"{LEARN}/fast", TRADE)
    finally:
        faults.install(None)
    again = open_controller(ledger_path).post(f"{LEARN}/fast", TRADE)
    assert again == {"trade_id": "t1", "known_at_ms": 1000, "recorded": not is_kept}


def test_a_live_outcome_of_the_future_is_refused(controller: Controller) -> None:
    body = {"trade_id": "t", "known_at_ms": NOW_MS + 1, "net_pnl_bps": 1.0}
    status, error = controller.refused("POST", f"{LEARN}/slow", body)
    assert (status, error.code) == (422, "request")
    assert f"known_at_ms of the live stream must not be in the future, was {NOW_MS + 1}" in (
        error.message
    )
    assert str(NOW_MS) in error.message
    assert controller.post(f"{LEARN}/slow", {**body, "stream": "backtest/a"})["recorded"] is True
    assert controller.post(f"{LEARN}/slow", {**body, "known_at_ms": NOW_MS})["recorded"] is True


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-1e999", "1.1e9", "1e308"])
def test_a_profit_that_cannot_be_meant_is_refused(controller: Controller, value: str) -> None:
    body = f'{{"trade_id": "t", "net_pnl_bps": {value}}}'.encode()
    status, error = controller.refused("POST", f"{LEARN}/slow", body)
    assert (status, error.code) == (422, "request")
    assert "net_pnl_bps" in error.message
    assert "\n" not in error.message


def test_features_too_large_to_learn_from_do_not_break_an_answer(controller: Controller) -> None:
    body = {"trade_id": "t", "net_pnl_bps": 1e9, "features": {"volatility_z": 1e300}}
    told = controller.call("POST", f"{LEARN}/slow", body)
    asked = {"as_of_ms": [NOW_MS], "features": {"volatility_z": [1e300]}}
    answered = controller.call("POST", f"{BTC}/batch", asked)
    assert {told.status_code, answered.status_code} <= {200, 422}, answered.text
