"""Trainings, outcomes, presets, runs and checkpoints."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mei.ledger.checkpoints import Checkpoint, load_checkpoint, save_checkpoint
from mei.ledger.database import Ledger
from mei.ledger.outcomes import (
    OutcomeRow,
    count_outcomes,
    find_outcome,
    outcomes_between,
    record_outcome,
)
from mei.ledger.presets import PresetRow, presets_as_of, register_preset
from mei.ledger.runs import RunRow, fail_run, find_run, finish_run, run_of_stream, start_run
from mei.ledger.trainings import find_training, last_training, record_training
from mei.model.errors import ConflictError, NotFoundError, RequestError
from tests.ledger.builders import KEY, chunk, register, train

OUTCOME = OutcomeRow("live", "t1", "momentum", "BTC/USDT", "fast", 100, 0.1 + 0.2, '{"x": 1}')
PRESET = PresetRow("live", "momentum", "BTC/USDT", "mine", 100, '{"lookback": 30}')
RUN = RunRow("0123456789ab", 1, "backtest/0123456789ab", "running", "{}", "[]", None, 5, None)


def _do(ledger: Ledger, change, *arguments, **named):
    with ledger.unit_of_work() as unit:
        result = change(unit.connection, *arguments, **named)
        unit.commit("test")
    return result


def _ask(ledger: Ledger, question, *arguments, **named):
    with ledger.reader() as conn:
        return question(conn, *arguments, **named)


def _skip(ledger: Ledger, as_of_ms: int, **changes: object) -> None:
    answer = {
        "status": "skipped",
        "reason": "no_new_bars",
        "seen_through_ms": None,
        "response_json": "{}",
    }
    _do(ledger, record_training, KEY, as_of_ms=as_of_ms, **(answer | changes))


def test_training_recorded_again_is_no_error_and_other_content_is(ledger: Ledger) -> None:
    _skip(ledger, 100)
    _skip(ledger, 100)
    for change in (
        {"status": "failed"},
        {"reason": "x"},
        {"seen_through_ms": 7},
        {"response_json": "[]"},
    ):
        with pytest.raises(ConflictError, match="one answer"):
            _skip(ledger, 100, **change)
    assert _ask(ledger, find_training, KEY, 100).status == "skipped"


def test_last_training_is_as_of_and_tells_what_was_seen(ledger: Ledger) -> None:
    _skip(ledger, 100, status="too_small", reason="12 of 2000 points", seen_through_ms=40)
    _skip(ledger, 300, seen_through_ms=40)
    assert _ask(ledger, last_training, KEY, 99) is None
    found = _ask(ledger, last_training, KEY, 299)
    assert (found.as_of_ms, found.status, found.seen_through_ms) == (100, "too_small", 40)
    assert _ask(ledger, last_training, KEY, 300).as_of_ms == 300
    assert _ask(ledger, find_training, KEY, 299) is None


def test_completed_training_is_not_overwritten_by_a_skip(ledger: Ledger) -> None:
    register(ledger, chunk(0, 9))
    train(ledger, 9, (0, 9))
    with pytest.raises(ConflictError):
        _skip(ledger, 600_000)


def test_outcome_is_recorded_once_and_keeps_its_bits(ledger: Ledger) -> None:
    assert _do(ledger, record_outcome, OUTCOME)
    assert not _do(ledger, record_outcome, OUTCOME)
    assert _ask(ledger, find_outcome, "live", "t1") == OUTCOME
    assert _ask(ledger, find_outcome, "live", "t2") is None


@pytest.mark.parametrize(
    "change",
    [
        {"strategy": "other"},
        {"instrument": "ETH/USDT"},
        {"preset_id": "slow"},
        {"known_at_ms": 101},
        {"net_pnl_bps": 0.3},
        {"features_json": '{"x": 2}'},
    ],
)
def test_outcome_of_a_known_trade_with_other_content_is_a_conflict(
    ledger: Ledger, change: dict
) -> None:
    _do(ledger, record_outcome, OUTCOME)
    with pytest.raises(ConflictError, match="one outcome"):
        _do(ledger, record_outcome, replace(OUTCOME, **change))
    assert _ask(ledger, find_outcome, "live", "t1") == OUTCOME


@pytest.mark.parametrize("pnl_bps", [float("nan"), float("inf")])
def test_outcome_without_a_number_is_refused(ledger: Ledger, pnl_bps: float) -> None:
    with pytest.raises(RequestError, match="finite"):
        _do(ledger, record_outcome, replace(OUTCOME, net_pnl_bps=pnl_bps))


def test_outcomes_come_by_time_then_by_bytes_of_the_id(ledger: Ledger) -> None:
    # A server's locale would put "b" before "B", and "-" nowhere.
    for trade_id, known_at_ms in (("b", 100), ("B", 100), ("a-1", 100), ("a1", 100), ("z", 50)):
        _do(ledger, record_outcome, replace(OUTCOME, trade_id=trade_id, known_at_ms=known_at_ms))
    found = _ask(
        ledger, outcomes_between, "live", "momentum", "BTC/USDT", after_ms=None, through_ms=100
    )
    assert [row.trade_id for row in found] == ["z", "B", "a-1", "a1", "b"]
    assert _ask(ledger, count_outcomes, "live", "momentum", "BTC/USDT") == 5


def test_outcomes_are_open_on_the_left_and_closed_on_the_right(ledger: Ledger) -> None:
    for known_at_ms in (99, 100, 101, 200, 201):
        row = replace(OUTCOME, trade_id=str(known_at_ms), known_at_ms=known_at_ms)
        _do(ledger, record_outcome, row)
    found = _ask(
        ledger, outcomes_between, "live", "momentum", "BTC/USDT", after_ms=100, through_ms=200
    )
    assert [row.known_at_ms for row in found] == [101, 200]
    for elsewhere in (("live/2", "momentum", "BTC/USDT"), ("live", "momentum", "ETH/USDT")):
        assert not _ask(ledger, outcomes_between, *elsewhere, after_ms=None, through_ms=999)


def test_preset_is_as_of_idempotent_and_never_changes_its_meaning(ledger: Ledger) -> None:
    assert _do(ledger, register_preset, PRESET)
    assert not _do(ledger, register_preset, replace(PRESET, known_at_ms=500))
    with pytest.raises(ConflictError, match="keep its parameters"):
        _do(ledger, register_preset, replace(PRESET, params_json="{}"))
    _do(ledger, register_preset, replace(PRESET, preset_id="Zed", known_at_ms=100))
    _do(ledger, register_preset, replace(PRESET, preset_id="early", known_at_ms=50))
    where = ("live", "momentum", "BTC/USDT")
    assert _ask(ledger, presets_as_of, *where, 49) == []
    found = _ask(ledger, presets_as_of, *where, 100)
    assert [row.preset_id for row in found] == ["early", "Zed", "mine"]
    assert found[-1] == PRESET
    assert _ask(ledger, presets_as_of, "live", "momentum", "ETH/USDT", 100) == []


def test_run_is_found_by_its_newest_attempt(ledger: Ledger) -> None:
    assert _ask(ledger, find_run, RUN.run_id) is None
    _do(ledger, start_run, RUN)
    assert _ask(ledger, find_run, RUN.run_id) == RUN
    second = replace(RUN, attempt=2, stream=f"{RUN.stream}/2")
    _do(ledger, start_run, second)
    assert _ask(ledger, find_run, RUN.run_id) == second
    assert _ask(ledger, run_of_stream, RUN.stream) == RUN
    assert _ask(ledger, run_of_stream, "live") is None


def test_attempt_or_stream_is_not_started_twice(ledger: Ledger) -> None:
    _do(ledger, start_run, RUN)
    for other in (RUN, replace(RUN, stream="backtest/x"), replace(RUN, attempt=2)):
        with pytest.raises(ConflictError, match="started once"):
            _do(ledger, start_run, other)


def test_finished_run_keeps_its_outputs(ledger: Ledger) -> None:
    _do(ledger, start_run, RUN)
    _do(ledger, finish_run, RUN.stream, '{"equity": "abc"}', 9)
    done = replace(RUN, status="finished", outputs_json='{"equity": "abc"}', finished_at_ms=9)
    _do(ledger, finish_run, RUN.stream, '{"equity": "abc"}', 99)
    assert _ask(ledger, find_run, RUN.run_id) == done
    with pytest.raises(ConflictError, match="keep its outputs"):
        _do(ledger, finish_run, RUN.stream, "{}", 9)
    with pytest.raises(ConflictError):
        _do(ledger, fail_run, RUN.stream, '{"equity": "abc"}', 9)
    assert _ask(ledger, find_run, RUN.run_id) == done


def test_failed_run_says_why_and_may_still_finish(ledger: Ledger) -> None:
    _do(ledger, start_run, RUN)
    _do(ledger, fail_run, RUN.stream, '{"reason": "strategy raised"}', 8)
    found = _ask(ledger, find_run, RUN.run_id)
    assert (found.status, found.outputs_json) == ("failed", '{"reason": "strategy raised"}')
    _do(ledger, finish_run, RUN.stream, "{}", 9)
    assert _ask(ledger, find_run, RUN.run_id).status == "finished"


def test_unknown_run_cannot_end(ledger: Ledger) -> None:
    with pytest.raises(NotFoundError, match="start_run first"):
        _do(ledger, finish_run, "backtest/none", "{}", 9)


def test_checkpoint_replaces_the_one_before_and_only_that_of_its_stream(ledger: Ledger) -> None:
    _do(ledger, save_checkpoint, "a", as_of_ms=1, state_json="first")
    _do(ledger, save_checkpoint, "b", as_of_ms=7, state_json="other")
    _do(ledger, save_checkpoint, "a", as_of_ms=2, state_json="second")
    assert _ask(ledger, load_checkpoint, "a") == Checkpoint(2, "second")
    assert _ask(ledger, load_checkpoint, "b") == Checkpoint(7, "other")
    assert _ask(ledger, load_checkpoint, "c") is None
