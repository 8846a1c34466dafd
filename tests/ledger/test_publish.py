from __future__ import annotations

from dataclasses import replace

import pytest

from mei.ledger.claims import assert_held
from mei.ledger.database import Ledger
from mei.ledger.files import file_states
from mei.ledger.models import champion_as_of, model, models_of
from mei.ledger.publish import next_version, publish_training
from mei.ledger.ranges import consumed_ranges, lineage_ranges, pending_ranges
from mei.ledger.trainings import find_training
from mei.model.errors import (
    ConflictError,
    FencedOffError,
    LedgerError,
    LookAheadError,
    NotFoundError,
    TrainedTwiceError,
)
from tests.ledger.builders import (
    BAR_MS,
    KEY,
    bars,
    chunk,
    claim,
    close_ms,
    gappy_chunk,
    numbers,
    publication,
    publish,
    register,
    train,
)


def _account(ledger: Ledger, bar: int, mode: str = "exactly_once") -> tuple[list, list]:
    with ledger.reader() as conn:
        return (
            numbers(consumed_ranges(conn, KEY, mode)),
            numbers(pending_ranges(conn, KEY, mode, close_ms(bar))),
        )


def _states(ledger: Ledger) -> list[str]:
    with ledger.reader() as conn:
        return sorted(file_states(conn, KEY).values())


def test_published_training_is_there_in_all_its_parts(ledger: Ledger) -> None:
    register(ledger, chunk(0, 9), chunk(10, 19))
    version = train(ledger, 19, (0, 15), promote=True, latency_bars=2)
    with ledger.reader() as conn:
        found = model(conn, KEY.stream, version)
        training = find_training(conn, KEY, close_ms(19))
        champion = champion_as_of(conn, KEY, close_ms(19))
    assert (found.version, found.parent_version, found.decision) == (1, None, "champion")
    assert (found.trained_through_ms, found.serves_from_ms) == (close_ms(15), close_ms(21))
    assert champion == found
    assert (training.status, training.reason, training.model_version) == ("completed", "because", 1)
    assert training.response_json == '{"version": 1}'
    assert training.seen_through_ms == 19 * BAR_MS
    assert _states(ledger) == ["downloaded", "processed"]
    assert _account(ledger, 19) == ([(0, 15)], [(16, 19)])
    assert claim(ledger, 25, owner="anybody").files


def test_rejected_model_consumes_its_bars_but_does_not_serve(ledger: Ledger) -> None:
    register(ledger, chunk(0, 9))
    train(ledger, 9, (0, 7))
    with ledger.reader() as conn:
        assert champion_as_of(conn, KEY, close_ms(9)) is None
        assert model(conn, KEY.stream, 1).decision == "rejected"
    assert _account(ledger, 9) == ([(0, 7)], [(8, 9)])


def test_abandoned_training_consumes_nothing(ledger: Ledger) -> None:
    register(ledger, chunk(0, 9))
    taken = claim(ledger, 9)
    with ledger.unit_of_work() as unit:
        publish(unit.connection, taken, (0, 7), promote=True)
    assert _account(ledger, 9) == ([], [(0, 9)])
    with ledger.reader() as conn:
        assert models_of(conn, KEY) == []
        assert find_training(conn, KEY, close_ms(9)) is None


@pytest.mark.parametrize("second", [(15, 25), (10, 20), (0, 3), (19, 19), (5, 10), (4, 4), (0, 29)])
def test_bar_is_not_consumed_twice(ledger: Ledger, second: tuple[int, int]) -> None:
    register(ledger, chunk(0, 29))
    train(ledger, 29, (0, 4), (10, 19))
    with pytest.raises(TrainedTwiceError, match="fitted at most once"):
        train(ledger, 30, second)
    assert _account(ledger, 29) == ([(0, 4), (10, 19)], [(5, 9), (20, 29)])
    train(ledger, 31, (5, 9), (20, 20))
    assert _account(ledger, 29) == ([(0, 20)], [(21, 29)])


def test_overlapping_files_smuggle_no_bar_in_twice(ledger: Ledger) -> None:
    register(ledger, chunk(0, 9))
    train(ledger, 9, (0, 9))
    register(ledger, chunk(5, 14), chunk(0, 9, salt="re-encoded", registered=20))
    with pytest.raises(TrainedTwiceError):
        train(ledger, 20, (5, 14))
    with pytest.raises(TrainedTwiceError):
        train(ledger, 21, (0, 9))
    train(ledger, 22, (10, 14))
    assert _account(ledger, 22) == ([(0, 14)], [])
    assert _states(ledger) == ["processed"] * 3


def test_sliding_windows_may_overlap_but_hold_no_bar_twice(ledger: Ledger) -> None:
    register(ledger, chunk(0, 29))
    train(ledger, 29, (0, 19), mode="sliding")
    train(ledger, 30, (5, 24), mode="sliding")
    assert _account(ledger, 30, "sliding") == ([(0, 24)], [(25, 29)])
    with pytest.raises(TrainedTwiceError):
        train(ledger, 31, (5, 14), (14, 20), mode="sliding")
    assert _account(ledger, 30) == ([], [(0, 29)])


def test_streams_do_not_spend_each_others_bars(ledger: Ledger) -> None:
    live = KEY._replace(stream="live")
    for key in (KEY, live):
        register(ledger, chunk(0, 9), key=key)
        assert train(ledger, 9, (0, 9), key=key) == 1


def test_versions_count_over_the_series_of_a_stream(ledger: Ledger) -> None:
    other = KEY._replace(symbol="ETH/USDT")
    for key in (KEY, other):
        register(ledger, chunk(0, 9), key=key)
    assert [train(ledger, 9, (0, 4)), train(ledger, 9, (0, 4), key=other)] == [1, 2]
    assert train(ledger, 10, (5, 9), parent=1) == 3
    with ledger.reader() as conn:
        assert next_version(conn, KEY.stream) == 4
        assert next_version(conn, "live") == 1


def test_bars_around_a_gap_settle_the_file_and_a_late_bar_stays_pending(ledger: Ledger) -> None:
    register(ledger, gappy_chunk((0, 3), (6, 9)))
    with pytest.raises(LedgerError, match="registered by the time"):
        train(ledger, 9, (0, 9))
    train(ledger, 10, (0, 3), (6, 9))
    assert _states(ledger) == ["processed"]
    register(ledger, chunk(4, 5, registered=20))
    assert _account(ledger, 20) == ([(0, 3), (6, 9)], [(4, 5)])


def test_file_of_which_one_run_is_spent_stays_downloaded(ledger: Ledger) -> None:
    register(ledger, gappy_chunk((0, 3), (6, 9)))
    train(ledger, 10, (0, 3))
    assert _states(ledger) == ["downloaded"]


def test_lineage_is_the_bars_of_a_model_and_its_ancestors(ledger: Ledger) -> None:
    register(ledger, chunk(0, 39))
    train(ledger, 39, (0, 9))
    train(ledger, 40, (10, 14), parent=1)
    train(ledger, 41, (30, 34), parent=1)
    train(ledger, 42, (20, 24), parent=3)
    with ledger.reader() as conn:
        assert numbers(lineage_ranges(conn, KEY.stream, 1)) == [(0, 9)]
        assert numbers(lineage_ranges(conn, KEY.stream, 2)) == [(0, 14)]
        assert numbers(lineage_ranges(conn, KEY.stream, 4)) == [(0, 9), (20, 24), (30, 34)]
        with pytest.raises(NotFoundError):
            lineage_ranges(conn, "live", 1)


def test_publishing_twice_is_a_conflict(ledger: Ledger) -> None:
    register(ledger, chunk(0, 19))
    train(ledger, 19, (0, 9))
    with pytest.raises(ConflictError, match="answered already"):
        train(ledger, 19, (10, 19))


@pytest.mark.parametrize(("version", "said"), [(1, "is taken"), (3, "leaves a hole")])
def test_version_of_another_unit_of_work_is_refused(
    ledger: Ledger, version: int, said: str
) -> None:
    register(ledger, chunk(0, 19))
    train(ledger, 19, (0, 9))
    taken = claim(ledger, 20)
    with pytest.raises(ConflictError, match=said), ledger.unit_of_work() as unit:
        publish_training(unit.connection, publication(taken, version, (10, 19)), now_ms=0)


def test_publishing_after_the_lease_is_fenced_off_even_if_nobody_came(ledger: Ledger) -> None:
    register(ledger, chunk(0, 9))
    taken = claim(ledger, 9, lease_ms=100)
    with pytest.raises(FencedOffError), ledger.unit_of_work() as unit:
        publish_training(unit.connection, publication(taken, 1, (0, 9)), now_ms=100)


def test_claim_is_released_by_publishing(ledger: Ledger) -> None:
    register(ledger, chunk(0, 9))
    taken = claim(ledger, 9)
    with ledger.unit_of_work() as unit:
        publish(unit.connection, taken, (0, 9))
        unit.commit("publish")
    with pytest.raises(FencedOffError, match="released"), ledger.reader() as conn:
        assert_held(conn, taken, 0)


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"n_fit": 9}, LedgerError, "exactly the bars fitted"),
        ({"fitted": ()}, LedgerError, "must have fitted bars"),
        ({"trained_through_ms": close_ms(8)}, LookAheadError, "trained through"),
        ({"trained_through_ms": close_ms(20)}, LookAheadError, "trained through"),
        ({"serves_from_ms": close_ms(18)}, LookAheadError, "from its training on"),
        ({"fitted": (bars(10, 19),)}, LookAheadError, "close at"),
        ({"fitted": (bars(-5, 4),)}, LedgerError, "registered by the time"),
    ],
)
def test_numbers_that_cannot_be_are_refused_and_change_nothing(
    ledger: Ledger, change: dict, error: type, said: str
) -> None:
    register(ledger, chunk(0, 9), chunk(10, 19, registered=30))
    taken = claim(ledger, 19)
    wrong = replace(publication(taken, 1, (0, 9)), **change)
    with pytest.raises(error, match=said), ledger.unit_of_work() as unit:
        publish_training(unit.connection, wrong, now_ms=0)
    assert _account(ledger, 19) == ([], [(0, 9)])


def test_bars_registered_after_the_time_asked_for_cannot_be_fitted(ledger: Ledger) -> None:
    register(ledger, chunk(0, 9), chunk(10, 14, registered=30))
    with pytest.raises(LedgerError, match="registered by the time"):
        train(ledger, 19, (0, 14))
