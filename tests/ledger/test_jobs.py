"""Sweep jobs: one worker at a time, leases that end, tokens that fence off, and how each state follows another."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from mei.ledger import jobs
from mei.ledger.database import Ledger
from mei.ledger.jobs import JobClaim, SweepJob
from mei.ledger.tables import sweep_jobs
from mei.model.errors import ConflictError, FencedOffError, NotFoundError

LEASE_MS = 1000


class Book:
    """The functions of the module, each in a unit of work of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.n_tokens = 0

    def do(self, function, *args, **more):
        with self.ledger.unit_of_work() as unit:
            found = function(unit.connection, *args, **more)
            unit.commit("job")
        return found

    def submit(self, job_id: str = "a", now_ms: int = 0, text: str = "{}", **more) -> SweepJob:
        return self.do(jobs.submit_job, job_id, text, now_ms, **more)

    def claim(self, owner: str = "one", now_ms: int = 0) -> JobClaim | None:
        self.n_tokens += 1
        token = f"t{self.n_tokens}"
        return self.do(jobs.claim_job, owner=owner, token=token, now_ms=now_ms, lease_ms=LEASE_MS)

    def renew(self, claim: JobClaim, now_ms: int, n_rows: int | None = None) -> bool:
        return self.do(
            jobs.renew_job,
            claim,
            now_ms=now_ms,
            lease_ms=LEASE_MS,
            n_rows=n_rows,
            progress_json="{}",
        )

    def end(self, claim: JobClaim, state: str, now_ms: int, reason: str = "") -> None:
        told = {"n_rows": None, "progress_json": "{}"}
        self.do(jobs.end_job, claim, state, now_ms=now_ms, reason=reason, **told)

    def job(self, job_id: str = "a") -> SweepJob:
        with self.ledger.reader() as conn:
            return jobs.find_job(conn, job_id)

    def state(self, job_id: str = "a") -> str:
        return self.job(job_id).state


@pytest.fixture
def book(ledger: Ledger) -> Book:
    return Book(ledger)


def test_the_row_is_the_table_field_by_field() -> None:
    assert list(SweepJob.__dataclass_fields__) == [column.name for column in sweep_jobs.columns]


def test_the_oldest_is_taken_first_and_by_one_alone(book: Book) -> None:
    book.submit("b", 1)
    book.submit("a", 2)
    taken = book.claim()
    assert taken == JobClaim("b", "t1", "one", "{}", None)
    assert book.claim("two").job_id == "a"
    assert book.claim("three") is None


def test_a_lease_that_ends_passes_the_job_on_and_fences_the_first_off(book: Book) -> None:
    book.submit()
    first = book.claim("one", 0)
    assert book.claim("two", LEASE_MS - 1) is None
    assert not book.renew(first, LEASE_MS - 1)
    assert book.claim("two", 2 * LEASE_MS - 2) is None
    second = book.claim("two", 2 * LEASE_MS - 1)
    assert second is not None
    for do in (
        lambda: book.renew(first, 2 * LEASE_MS),
        lambda: book.end(first, jobs.FINISHED, 2 * LEASE_MS),
        lambda: book.end(first, jobs.FAILED, 2 * LEASE_MS, "mine"),
    ):
        with pytest.raises(FencedOffError, match="'two' has it"):
            do()
    book.do(jobs.give_back_job, first, 2 * LEASE_MS)
    assert book.job().owner == "two"
    book.end(second, jobs.FINISHED, 2 * LEASE_MS)
    assert book.job().n_attempts == 2


def test_the_market_of_the_first_run_is_known_to_the_next_until_it_is_asked_for_again(
    book: Book,
) -> None:
    book.submit()
    first = book.claim("one", 0)
    book.do(jobs.set_market, first, "market", 1)
    second = book.claim("two", LEASE_MS)
    assert second.data_id == "market"
    with pytest.raises(FencedOffError, match="'two' has it"):
        book.do(jobs.set_market, first, "other", LEASE_MS + 1)
    book.do(jobs.give_back_job, second, LEASE_MS + 1)
    assert book.submit().data_id == "market"
    third = book.claim("one", LEASE_MS + 1)
    book.end(third, jobs.FAILED, LEASE_MS + 2, "candles")
    assert book.submit().data_id is None


def test_an_owner_whose_lease_is_over_may_not_end_it_even_if_nobody_took_it(book: Book) -> None:
    book.submit()
    taken = book.claim()
    with pytest.raises(FencedOffError, match="its lease is over"):
        book.end(taken, jobs.FINISHED, LEASE_MS)
    assert book.state() == "running"


def test_asked_for_again_by_state(book: Book) -> None:
    assert book.submit().state == "queued"
    taken = book.claim()
    assert book.submit(now_ms=5).state == "running"
    book.end(taken, jobs.FAILED, 6, "no card")
    assert book.job().reason == "no card"
    again = book.submit(now_ms=7)
    assert (again.state, again.reason, again.ended_at_ms, again.queued_at_ms) == (
        "queued",
        "",
        None,
        7,
    )
    book.end(book.claim(), jobs.FINISHED, 8)
    assert book.submit(now_ms=9).state == "finished"
    assert book.submit(now_ms=9, again=True).state == "queued"


def test_an_id_belongs_to_one_question(book: Book) -> None:
    book.submit(text='{"a":1}')
    with pytest.raises(ConflictError, match="an id must belong to one sweep"):
        book.submit(text='{"a":2}')


def test_cancelled_while_it_waits(book: Book) -> None:
    book.submit()
    assert book.do(jobs.ask_to_cancel, "a", 1).state == "cancelled"
    assert book.do(jobs.ask_to_cancel, "a", 2).ended_at_ms == 1
    assert book.claim() is None
    assert book.submit(now_ms=3).state == "queued"


def test_cancelled_while_it_runs(book: Book) -> None:
    book.submit()
    taken = book.claim()
    asked = book.do(jobs.ask_to_cancel, "a", 1)
    assert (asked.state, asked.is_cancel_asked) == ("running", 1)
    assert book.renew(taken, 2)
    book.do(jobs.give_back_job, taken, 3)
    assert (book.state(), book.job().is_cancel_asked) == ("cancelled", 0)


def test_a_cancellation_taken_back_before_the_worker_stopped(book: Book) -> None:
    book.submit()
    taken = book.claim()
    book.do(jobs.ask_to_cancel, "a", 1)
    assert book.submit(now_ms=2).is_cancel_asked == 0
    book.do(jobs.give_back_job, taken, 3)
    assert book.state() == "queued"


def test_cancelled_and_the_worker_dies(book: Book) -> None:
    book.submit()
    book.claim()
    book.do(jobs.ask_to_cancel, "a", 1)
    assert book.claim("two", LEASE_MS) is None
    assert book.state() == "cancelled"


def test_cancelled_after_the_worker_died(book: Book) -> None:
    book.submit()
    book.claim()
    assert book.do(jobs.ask_to_cancel, "a", LEASE_MS).state == "cancelled"


@pytest.mark.parametrize("state", [jobs.FINISHED, jobs.FAILED])
def test_what_ended_cannot_be_cancelled(book: Book, state: str) -> None:
    book.submit()
    book.end(book.claim(), state, 1)
    with pytest.raises(ConflictError, match=f"only a sweep that waits or runs .* is {state}"):
        book.do(jobs.ask_to_cancel, "a", 2)


def test_a_worker_that_stops_gives_back_what_it_holds(book: Book) -> None:
    book.submit("a")
    book.submit("b", 1)
    book.claim("one")
    book.claim("two")
    assert book.do(jobs.give_back_owned, "one", 1) == 1
    assert (book.state("a"), book.state("b")) == ("queued", "running")
    assert book.job("a").n_stuck == 0


def test_a_job_that_kills_every_worker_fails_at_last(book: Book) -> None:
    book.submit()
    for life in range(jobs.MOST_STUCK):
        assert book.claim(f"w{life}", life * LEASE_MS) is not None
    assert book.claim("next", jobs.MOST_STUCK * LEASE_MS) is None
    assert book.state() == "failed"
    assert "workers must live through a sweep, 10 ended in this one" in book.job().reason
    book.submit(now_ms=10**6)
    assert book.claim("next", 10**6) is not None


def test_a_new_row_shows_that_it_gets_on(book: Book) -> None:
    book.submit()
    for life in range(3 * jobs.MOST_STUCK):
        taken = book.claim(f"w{life}", life * LEASE_MS)
        assert taken is not None
        book.renew(taken, life * LEASE_MS, None)
        assert book.job().n_stuck == 1
        book.renew(taken, life * LEASE_MS, life + 1)
        book.renew(taken, life * LEASE_MS, life + 1)
        assert book.job().n_stuck == 0


def test_unknown_and_listed(book: Book) -> None:
    with pytest.raises(NotFoundError, match="no sweep has the id 'x'"):
        book.job("x")
    for now_ms, job_id in enumerate("cab"):
        book.submit(job_id, now_ms)
    with book.ledger.reader() as conn:
        assert [job.job_id for job in jobs.jobs(conn)] == ["b", "a", "c"]
        assert len(conn.execute(select(sweep_jobs)).all()) == 3
