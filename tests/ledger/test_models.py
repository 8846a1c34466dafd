from __future__ import annotations

import pytest

from mei.ledger.checkpoints import save_checkpoint
from mei.ledger.database import Ledger
from mei.ledger.models import (
    archive_model,
    champion_as_of,
    last_completed_fit,
    model,
    models_of,
    promotions_of,
    prunable_models,
    record_promotion,
    serving_as_of,
    serving_timeline,
)
from mei.ledger.runs import RunRow, fail_run, finish_run, start_run
from mei.model.errors import ConflictError, NotFoundError
from tests.ledger.builders import BAR_MS, KEY, chunk, claim, close_ms, register, train

LAST = 1_000


def _train_each(ledger: Ledger, *promoted: bool, latency_bars: int = 0) -> None:
    """Version k is trained as of bar 10 k and is promoted if the k-th flag says so."""
    for k, promote in enumerate(promoted, start=1):
        register(ledger, chunk(10 * k - 9, 10 * k))
        parent = k - 1 or None
        train(
            ledger,
            10 * k,
            (10 * k - 9, 10 * k),
            promote=promote,
            latency_bars=latency_bars,
            parent=parent,
        )


def _promote(ledger: Ledger, version: int, *, at: int, serves: int, kind: str = "manual") -> None:
    with ledger.unit_of_work() as unit:
        record_promotion(
            unit.connection,
            KEY,
            version,
            decided_at_ms=close_ms(at),
            serves_from_ms=close_ms(serves),
            kind=kind,
        )
        unit.commit("promote")


def _versions(ledger: Ledger, find, *bar_numbers: int) -> list[int | None]:
    with ledger.reader() as conn:
        rows = [find(conn, KEY, close_ms(bar)) for bar in bar_numbers]
    return [None if row is None else row.version for row in rows]


def _timeline(ledger: Ledger, first: int, last: int) -> list[tuple[int, int]]:
    with ledger.reader() as conn:
        found = serving_timeline(conn, KEY, close_ms(first), close_ms(last))
    return [(at_ms // BAR_MS - 1, version) for at_ms, version in found]


def _prunable(ledger: Ledger, *, keep_n: int = 1, at: int = LAST) -> list[int]:
    with ledger.reader() as conn:
        rows = prunable_models(conn, KEY, keep_n=keep_n, as_of_ms=close_ms(at))
    return [row.version for row in rows]


def _start_run(ledger: Ledger) -> None:
    with ledger.unit_of_work() as unit:
        row = RunRow("0123456789ab", 1, KEY.stream, "running", "{}", "{}", None, 0, None)
        start_run(unit.connection, row)
        unit.commit("run")


def _checkpoint(ledger: Ledger, bar: int) -> None:
    with ledger.unit_of_work() as unit:
        save_checkpoint(unit.connection, KEY.stream, as_of_ms=close_ms(bar), state_json="{}")
        unit.commit("checkpoint")


def test_champion_is_decided_at_once_and_serves_after_the_latency(ledger: Ledger) -> None:
    _train_each(ledger, True, False, True, latency_bars=3)
    assert _versions(ledger, champion_as_of, 9, 10, 29, 30, 99) == [None, 1, 1, 3, 3]
    assert _versions(ledger, serving_as_of, 12, 13, 32, 33, 99) == [None, 1, 1, 3, 3]


def test_one_millisecond_decides_who_is_champion_and_who_serves(ledger: Ledger) -> None:
    _train_each(ledger, True, True, latency_bars=3)
    with ledger.reader() as conn:
        assert champion_as_of(conn, KEY, close_ms(20) - 1).version == 1
        assert champion_as_of(conn, KEY, close_ms(20)).version == 2
        assert serving_as_of(conn, KEY, close_ms(23) - 1).version == 1
        assert serving_as_of(conn, KEY, close_ms(23)).version == 2


def test_answers_of_the_past_do_not_change_when_the_future_comes(ledger: Ledger) -> None:
    _train_each(ledger, True, False, latency_bars=1)

    def answers() -> list[object]:
        with ledger.reader() as conn:
            past = close_ms(25)
            return [
                *(find(conn, KEY, past) for find in (last_completed_fit, champion_as_of)),
                serving_as_of(conn, KEY, past),
                models_of(conn, KEY, past),
                promotions_of(conn, KEY, past),
                serving_timeline(conn, KEY, 0, past),
            ]

    before = answers()
    register(ledger, chunk(21, 30))
    train(ledger, 30, (21, 30), promote=True)
    _promote(ledger, 2, at=40, serves=41, kind="rollback")
    assert answers() == before


def test_warm_start_parent_is_the_last_fit_promoted_or_not(ledger: Ledger) -> None:
    _train_each(ledger, True, False, True, False)
    assert _versions(ledger, last_completed_fit, 9, 10, 19, 20, 45) == [None, 1, 1, 2, 4]


def test_standing_of_models_is_as_of_the_time_asked(ledger: Ledger) -> None:
    _train_each(ledger, True, False, True)

    def standings(as_of_ms: int | None) -> list[str]:
        with ledger.reader() as conn:
            return [row.decision for row in models_of(conn, KEY, as_of_ms)]

    assert standings(close_ms(20)) == ["champion", "rejected"]
    assert standings(close_ms(30)) == ["accepted", "rejected", "champion"]
    _promote(ledger, 2, at=50, serves=50)
    assert standings(close_ms(49)) == ["accepted", "rejected", "champion"]
    assert standings(None) == ["accepted", "champion", "accepted"]


def test_timeline_covers_the_span_and_begins_with_whoever_serves(ledger: Ledger) -> None:
    _train_each(ledger, True, False, True, latency_bars=2)
    assert _timeline(ledger, 0, 11) == []
    assert _timeline(ledger, 0, 40) == [(12, 1), (32, 3)]
    assert _timeline(ledger, 12, 31) == [(12, 1)]
    assert _timeline(ledger, 20, 32) == [(12, 1), (32, 3)]
    assert _timeline(ledger, 50, 60) == [(32, 3)]


def test_timeline_agrees_with_serving_at_every_bar(ledger: Ledger) -> None:
    _train_each(ledger, True, True, False, True, latency_bars=7)
    _promote(ledger, 1, at=22, serves=22, kind="rollback")
    _promote(ledger, 3, at=41, serves=60)
    _promote(ledger, 2, at=41, serves=60)
    for first in (0, 20, 26, 33, 58):
        timeline = _timeline(ledger, first, 80)
        for bar in range(first, 80):
            from_timeline = [version for since, version in timeline if since <= bar][-1:]
            serving = _versions(ledger, serving_as_of, bar)
            assert (from_timeline or [None]) == serving, (first, bar)


def test_later_decision_overrules_an_earlier_one_that_comes_into_force_after_it(
    ledger: Ledger,
) -> None:
    _train_each(ledger, True, True, latency_bars=20)
    _promote(ledger, 1, at=25, serves=25, kind="rollback")
    assert _versions(ledger, serving_as_of, 24, 25, 40, 99) == [None, 1, 1, 1]
    assert _timeline(ledger, 0, 99) == [(25, 1)]


def test_of_two_decisions_at_one_time_the_second_holds(ledger: Ledger) -> None:
    _train_each(ledger, False, False)
    _promote(ledger, 2, at=30, serves=30)
    _promote(ledger, 1, at=30, serves=30)
    assert _versions(ledger, champion_as_of, 30) == [1]
    assert _timeline(ledger, 0, 40) == [(30, 1)]


def test_model_of_another_series_or_none_cannot_be_promoted(ledger: Ledger) -> None:
    _train_each(ledger, True)
    other = KEY._replace(symbol="ETH/USDT")
    register(ledger, chunk(0, 9), key=other)
    train(ledger, 9, (0, 9), key=other)
    for version in (2, 9):
        with pytest.raises(NotFoundError, match=r"it has 1$"):
            _promote(ledger, version, at=30, serves=30)


def test_archived_model_cannot_be_promoted_and_says_so(ledger: Ledger) -> None:
    _train_each(ledger, True, True)
    with ledger.unit_of_work() as unit:
        archive_model(unit.connection, KEY.stream, 1)
        unit.commit("archive")
    with ledger.reader() as conn:
        assert model(conn, KEY.stream, 1).decision == "archived"
    with pytest.raises(ConflictError, match="archived"):
        _promote(ledger, 1, at=30, serves=30)
    with pytest.raises(NotFoundError), ledger.unit_of_work() as unit:
        archive_model(unit.connection, KEY.stream, 7)


def test_pruning_keeps_the_newest_the_champion_and_its_predecessor(ledger: Ledger) -> None:
    _train_each(ledger, False, True, False, True, False, False, False)
    assert _prunable(ledger, keep_n=1) == [1, 3, 5, 6]
    assert _prunable(ledger, keep_n=3) == [1, 3]
    assert _prunable(ledger, keep_n=7) == []


def test_pruning_lists_no_model_twice_archived_and_none_of_the_future(ledger: Ledger) -> None:
    _train_each(ledger, False, False, False, False)
    with ledger.unit_of_work() as unit:
        archive_model(unit.connection, KEY.stream, 1)
        unit.commit("archive")
    assert _prunable(ledger) == [2, 3]
    assert _prunable(ledger, at=30) == [2]


def test_pruning_keeps_whoever_serves_until_the_promoted_one_does(ledger: Ledger) -> None:
    _train_each(ledger, True, True, True, latency_bars=15)
    # As of 30 the third is champion, yet the first serves until 35 and the second from then to 45.
    assert _prunable(ledger, at=30) == []
    assert _prunable(ledger, at=34) == []
    assert _prunable(ledger, at=35) == [1]


def test_pruning_keeps_what_an_unfinished_run_may_ask_for_again(ledger: Ledger) -> None:
    _start_run(ledger)
    _train_each(ledger, True, True, True, True, False)
    assert _prunable(ledger) == []
    _checkpoint(ledger, 25)
    assert _prunable(ledger) == [1]
    _checkpoint(ledger, 35)
    assert _prunable(ledger) == [1, 2]
    # A run that failed may be taken up again.
    with ledger.unit_of_work() as unit:
        fail_run(unit.connection, KEY.stream, "{}", 1)
        unit.commit("fail")
    _promote(ledger, 5, at=60, serves=60)
    assert _prunable(ledger) == [1, 2]
    with ledger.unit_of_work() as unit:
        finish_run(unit.connection, KEY.stream, "{}", 1)
        unit.commit("finish")
    assert _prunable(ledger) == [1, 2, 3]


def test_pruning_keeps_what_a_training_in_progress_starts_from(ledger: Ledger) -> None:
    _train_each(ledger, True, False, False, True, True, True)
    assert _prunable(ledger) == [1, 2, 3, 4]
    claim(ledger, 25)
    # Its parent is the second model and its opponent the first.
    assert _prunable(ledger) == [3, 4]
