from __future__ import annotations

from dataclasses import replace

import pytest

from mei.ledger.database import Ledger
from mei.ledger.files import (
    file_states,
    files_as_of,
    mark_deleted,
    register_file,
    registered_ranges,
    registered_through_ms,
    series_of_stream,
    watermark_ms,
)
from mei.ledger.series import SeriesKey
from mei.model.errors import ConflictError, LedgerError
from tests.ledger.builders import (
    KEY,
    bars,
    chunk,
    claim,
    close_ms,
    gappy_chunk,
    numbers,
    register,
    train,
)


def test_registering_a_file_again_changes_nothing(ledger: Ledger) -> None:
    file = chunk(0, 9)
    again = replace(file, path="delivered/again.csv", registered_at_ms=close_ms(500))
    assert register(ledger, file, again) == [True, False]
    with ledger.reader() as conn:
        assert files_as_of(conn, KEY, close_ms(1000)) == [file]


def test_same_content_with_other_bars_is_refused(ledger: Ledger) -> None:
    file = chunk(0, 9)
    register(ledger, file)
    with pytest.raises(ConflictError, match="one content must have one set of bars"):
        register(ledger, replace(file, last_ms=8 * 60_000, n_bars=9))


@pytest.mark.parametrize(
    "wrong",
    [
        replace(chunk(0, 9), n_bars=11),
        replace(chunk(0, 9), n_bars=0),
        replace(chunk(5, 9), first_ms=10 * 60_000),
        replace(gappy_chunk((0, 3), (6, 9)), n_bars=10),
        replace(gappy_chunk((0, 3), (6, 9)), spans=(bars(6, 9), bars(0, 3))),
        replace(gappy_chunk((0, 3), (6, 9)), last_ms=8 * 60_000),
    ],
    ids=["more bars than fit", "no bars", "backwards", "gap counted", "disorder", "other end"],
)
def test_file_whose_numbers_contradict_is_refused_and_not_kept(ledger: Ledger, wrong) -> None:
    with pytest.raises(LedgerError, match="as many bars as its runs hold"):
        register(ledger, wrong)
    with ledger.reader() as conn:
        assert files_as_of(conn, KEY, close_ms(1000)) == []


def test_files_appear_only_as_of_their_registration(ledger: Ledger) -> None:
    late = chunk(0, 4, registered=20)
    register(ledger, chunk(5, 9), late, chunk(10, 19))
    with ledger.reader() as conn:
        assert files_as_of(conn, KEY, close_ms(9) - 1) == []
        assert [f.path for f in files_as_of(conn, KEY, close_ms(19))] == ["5-9.csv", "10-19.csv"]
        assert files_as_of(conn, KEY, close_ms(20))[-1] == late


def test_order_of_files_does_not_depend_on_order_of_arrival(ledger: Ledger) -> None:
    # Same time, same first bar: the hash decides.
    batch = [chunk(0, last, registered=50) for last in (3, 9, 5, 7)] + [chunk(2, 3, registered=50)]
    other = KEY._replace(stream="backtest/other")
    register(ledger, *batch)
    register(ledger, *reversed(batch), key=other)
    with ledger.reader() as conn:
        listed = files_as_of(conn, KEY, close_ms(50))
        assert listed == files_as_of(conn, other, close_ms(50))
        assert [file.first_ms for file in listed][-1] == 2 * 60_000


def test_watermark_is_as_of_and_survives_deletion(ledger: Ledger) -> None:
    register(ledger, chunk(0, 9), chunk(10, 19))
    train(ledger, 19, (0, 19))
    with ledger.unit_of_work() as unit:
        assert mark_deleted(unit.connection, KEY, chunk(10, 19).sha256)
        unit.commit("delete")
    with ledger.reader() as conn:
        assert registered_through_ms(conn, KEY, close_ms(8)) is None
        assert registered_through_ms(conn, KEY, close_ms(9)) == 9 * 60_000
        assert registered_through_ms(conn, KEY, close_ms(19)) == 19 * 60_000
        assert [file.path for file in files_as_of(conn, KEY, close_ms(19))] == ["0-9.csv"]
        assert numbers(registered_ranges(conn, KEY, close_ms(19))) == [(0, 19)]


def test_watermark_is_raised_and_never_lowered(ledger: Ledger) -> None:
    for file, expected in ((chunk(10, 19), 19), (chunk(0, 9), 19), (chunk(20, 20), 20)):
        register(ledger, file)
        with ledger.reader() as conn:
            assert watermark_ms(conn, KEY) == expected * 60_000
            assert watermark_ms(conn, KEY._replace(stream="live")) is None


def test_deleted_file_delivered_again_stays_deleted(ledger: Ledger) -> None:
    register(ledger, chunk(0, 9))
    train(ledger, 9, (0, 9))
    with ledger.unit_of_work() as unit:
        assert mark_deleted(unit.connection, KEY, chunk(0, 9).sha256)
        assert not register_file(unit.connection, KEY, chunk(0, 9))
        unit.commit("delete")
    with ledger.reader() as conn:
        assert set(file_states(conn, KEY).values()) == {"deleted"}


def test_file_with_pending_bars_or_under_claim_is_not_deleted(ledger: Ledger) -> None:
    register(ledger, chunk(0, 9), chunk(10, 19))
    train(ledger, 19, (0, 14))
    with ledger.unit_of_work() as unit:
        assert not mark_deleted(unit.connection, KEY, chunk(10, 19).sha256)
    claim(ledger, 25)
    with ledger.unit_of_work() as unit:
        assert not mark_deleted(unit.connection, KEY, chunk(0, 9).sha256)


def test_series_of_a_stream_are_listed_in_order(ledger: Ledger) -> None:
    keys = [SeriesKey("live", s, t) for s in ("BTC/USDT", "ETH/USDT") for t in ("1m", "5m")]
    for key in reversed(keys):
        register(ledger, chunk(0, 0), key=key)
    register(ledger, chunk(0, 0), key=SeriesKey("live/2", "SOL/USDT", "1m"))
    with ledger.reader() as conn:
        assert series_of_stream(conn, "live") == keys
        assert series_of_stream(conn, "nobody") == []


def test_gaps_inside_a_file_are_not_bars(ledger: Ledger) -> None:
    file = gappy_chunk((0, 3), (6, 9))
    register(ledger, file, chunk(10, 12))
    with ledger.reader() as conn:
        assert files_as_of(conn, KEY, close_ms(12))[0] == file
        assert numbers(registered_ranges(conn, KEY, close_ms(12))) == [(0, 3), (6, 12)]
