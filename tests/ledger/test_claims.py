from __future__ import annotations

import pytest

from mei.ledger.claims import (
    assert_held,
    release_claim,
    release_expired,
    release_owner,
    renew_claim,
)
from mei.ledger.database import Ledger
from mei.ledger.files import file_states, mark_deleted
from mei.model.errors import ClaimBusyError, FencedOffError
from tests.ledger.builders import KEY, chunk, claim, close_ms, publish, register, train

OTHER = KEY._replace(symbol="ETH/USDT")


def _states(ledger: Ledger) -> dict[str, str]:
    names = {chunk(i * 10, i * 10 + 9).sha256: f"{i * 10}" for i in range(5)}
    with ledger.reader() as conn:
        return {names[sha]: state for sha, state in file_states(conn, KEY).items()}


def _is_held(ledger: Ledger, taken, now_ms: int) -> bool:
    with ledger.reader() as conn:
        try:
            assert_held(conn, taken, now_ms)
        except FencedOffError:
            return False
        return True


@pytest.fixture(autouse=True)
def _three_files(ledger: Ledger) -> None:
    register(ledger, chunk(0, 9), chunk(10, 19), chunk(20, 29))


def test_claim_takes_the_files_registered_by_its_time(ledger: Ledger) -> None:
    taken = claim(ledger, 19)
    assert [file.path for file in taken.files] == ["0-9.csv", "10-19.csv"]
    assert taken.as_of_ms == close_ms(19)
    assert _states(ledger) == {"0": "processing", "10": "processing", "20": "downloaded"}


def test_released_files_go_back_to_what_they_were(ledger: Ledger) -> None:
    train(ledger, 19, (0, 9))
    before = _states(ledger)
    assert before == {"0": "processed", "10": "downloaded", "20": "downloaded"}
    taken = claim(ledger, 29)
    assert set(_states(ledger).values()) == {"processing"}
    with ledger.unit_of_work() as unit:
        release_claim(unit.connection, taken)
        unit.commit("release")
    assert _states(ledger) == before
    assert not _is_held(ledger, taken, 0)


def test_deleted_files_are_not_claimed(ledger: Ledger) -> None:
    train(ledger, 19, (0, 19))
    with ledger.unit_of_work() as unit:
        assert mark_deleted(unit.connection, KEY, chunk(0, 9).sha256)
        unit.commit("delete")
    taken = claim(ledger, 29)
    assert [file.path for file in taken.files] == ["10-19.csv", "20-29.csv"]
    assert _states(ledger) == {"0": "deleted", "10": "processing", "20": "processing"}


def test_live_claim_of_another_owner_is_busy(ledger: Ledger) -> None:
    first = claim(ledger, 19, owner="a", now_ms=0, lease_ms=1000)
    with pytest.raises(ClaimBusyError, match="held by 'a' for 1 ms more"):
        claim(ledger, 19, owner="b", now_ms=999)
    assert _is_held(ledger, first, 999)


def test_claims_of_two_series_or_streams_do_not_meet(ledger: Ledger) -> None:
    claims = [claim(ledger, 19, owner="a")]
    claims.append(claim(ledger, 19, owner="b", key=OTHER))
    claims.append(claim(ledger, 19, owner="c", token="c", key=KEY._replace(stream="live")))
    assert all(_is_held(ledger, taken, 0) for taken in claims)


def test_expired_claim_is_taken_over_and_its_owner_fenced_off(ledger: Ledger) -> None:
    late = claim(ledger, 29, owner="a", now_ms=0, lease_ms=1000)
    heir = claim(ledger, 19, owner="b", now_ms=1000, lease_ms=1000)
    assert _states(ledger) == {"0": "processing", "10": "processing", "20": "downloaded"}
    with pytest.raises(FencedOffError, match="'b' took it over"), ledger.unit_of_work() as unit:
        publish(unit.connection, late, (0, 9))
    assert _is_held(ledger, heir, 1500)


def test_late_release_does_not_touch_the_heir(ledger: Ledger) -> None:
    late = claim(ledger, 29, owner="a", now_ms=0, lease_ms=1000)
    heir = claim(ledger, 29, owner="b", now_ms=1000)
    with ledger.unit_of_work() as unit:
        release_claim(unit.connection, late)
        unit.commit("release")
    assert _is_held(ledger, heir, 1000)
    assert set(_states(ledger).values()) == {"processing"}


def test_restarted_owner_takes_its_own_claim_over_at_once(ledger: Ledger) -> None:
    before = claim(ledger, 19, owner="ml", token="before the crash", now_ms=0)
    after = claim(ledger, 19, owner="ml", token="after the crash", now_ms=1)
    assert not _is_held(ledger, before, 1)
    assert _is_held(ledger, after, 1)


def test_same_token_claims_again(ledger: Ledger) -> None:
    claim(ledger, 19, owner="a", token="t", now_ms=0)
    again = claim(ledger, 29, owner="b", token="t", now_ms=10)
    assert _is_held(ledger, again, 1009)


def test_claim_is_lost_when_its_lease_ends(ledger: Ledger) -> None:
    taken = claim(ledger, 19, now_ms=0, lease_ms=1000)
    assert _is_held(ledger, taken, 999)
    with pytest.raises(FencedOffError, match="ended 0 ms ago"), ledger.reader() as conn:
        assert_held(conn, taken, 1000)


def test_renewed_claim_lasts_longer(ledger: Ledger) -> None:
    taken = claim(ledger, 19, now_ms=0, lease_ms=1000)
    with ledger.unit_of_work() as unit:
        renewed = renew_claim(unit.connection, taken, now_ms=900, lease_ms=1000)
        unit.commit("renew")
    assert renewed.expires_at_ms == 1900
    assert _is_held(ledger, taken, 1899)
    with pytest.raises(FencedOffError), ledger.unit_of_work() as unit:
        renew_claim(unit.connection, taken, now_ms=1900, lease_ms=1000)


def test_starting_anew_releases_every_claim_of_the_owner(ledger: Ledger) -> None:
    mine = [claim(ledger, 19, owner="a"), claim(ledger, 19, owner="a", key=OTHER)]
    other = claim(ledger, 19, owner="b", key=KEY._replace(stream="live"))
    with ledger.unit_of_work() as unit:
        assert release_owner(unit.connection, "a") == 2
        assert release_owner(unit.connection, "a") == 0
        unit.commit("release")
    assert not any(_is_held(ledger, taken, 0) for taken in mine)
    assert _is_held(ledger, other, 0)
    assert set(_states(ledger).values()) == {"downloaded"}


def test_only_expired_claims_are_swept(ledger: Ledger) -> None:
    claim(ledger, 19, owner="a", lease_ms=1000)
    alive = claim(ledger, 19, owner="b", lease_ms=1001, key=OTHER)
    with ledger.unit_of_work() as unit:
        assert release_expired(unit.connection, 1000) == 1
        unit.commit("release")
    assert _is_held(ledger, alive, 1000)
    assert set(_states(ledger).values()) == {"downloaded"}
