"""Whatever happens in whatever order: every registered bar is consumed or pending, and none twice."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy import select

from mei.ledger.claims import Claim, release_claim
from mei.ledger.database import Ledger
from mei.ledger.files import file_states, files_as_of, mark_deleted, register_file
from mei.ledger.publish import next_version, publish_training
from mei.ledger.ranges import consumed_ranges, pending_ranges
from mei.ledger.series import BarRange, ranges_of
from mei.ledger.tables import trained_ranges
from mei.model.errors import ClaimBusyError, FencedOffError, TrainedTwiceError
from tests.ledger.builders import BAR_MS, KEY, chunk, claim, gappy_chunk, publication

LEASE_MS = 10
FOREVER_MS = 2**60
N_BARS = 60
_owners = st.sampled_from(["a", "b", "c"])
#: Which of the pending bars a training fits, by position.
_choice = st.just([True] * N_BARS) | st.lists(st.booleans(), min_size=N_BARS, max_size=N_BARS)


def _bars_of(ranges: list[BarRange]) -> list[int]:
    return [
        open_ms // BAR_MS
        for span in ranges
        for open_ms in range(span.first_ms, span.last_ms + BAR_MS, BAR_MS)
    ]


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    spans = ranges_of([number * BAR_MS for number in sorted(numbers)], BAR_MS)
    return [(span.first_ms // BAR_MS, span.last_ms // BAR_MS) for span in spans]


class Accounting(RuleBasedStateMachine):
    """The ledger beside two plain sets of bar numbers."""

    @initialize()
    def _open(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._ledger = Ledger.open(Path(self._folder.name) / "manifest.sqlite")
        self._now_ms = 0
        self._n_claims = 0
        self._claims: list[Claim] = []
        self._newest: Claim | None = None
        self._registered: set[int] = set()
        self._consumed: set[int] = set()

    def teardown(self) -> None:
        self._ledger.close()
        self._folder.cleanup()

    @rule(
        first=st.integers(0, N_BARS - 9), n=st.integers(1, 8), gap_at=st.none() | st.integers(1, 6)
    )
    def deliver(self, first: int, n: int, gap_at: int | None) -> None:
        """A file, perhaps with a gap, perhaps overlapping others, perhaps known."""
        if gap_at is None or gap_at > n - 2:
            runs = [(first, first + n - 1)]
            file = chunk(*runs[0], registered=N_BARS)
        else:
            runs = [(first, first + gap_at - 1), (first + gap_at + 1, first + n - 1)]
            file = gappy_chunk(*runs)
        with self._ledger.unit_of_work() as unit:
            register_file(unit.connection, KEY, file)
            unit.commit("register")
        self._registered |= {bar for run in runs for bar in range(run[0], run[1] + 1)}

    @rule(owner=_owners)
    def claim(self, owner: str) -> None:
        """Anybody may ask for the series at any time."""
        self._n_claims += 1
        live = self._live()
        try:
            taken = claim(
                self._ledger, N_BARS + self._n_claims, owner=owner, token=str(self._n_claims),
                now_ms=self._now_ms, lease_ms=LEASE_MS,
            )  # fmt: skip
        except ClaimBusyError:
            assert live is not None
            assert live.owner != owner
        else:
            assert live is None or live.owner == owner
            self._claims.append(taken)
            self._newest = taken

    @rule(passed_ms=st.sampled_from([1, LEASE_MS]))
    def wait(self, passed_ms: int) -> None:
        """Leases run out; nobody is told."""
        self._now_ms += passed_ms

    @precondition(lambda self: self._claims)
    @rule(which=st.integers(0, 5), chosen=_choice)
    def publish(self, which: int, chosen: list[bool]) -> None:
        """Any trainer, however late, publishes a fit of some of the bars that were pending when it claimed."""
        taken = self._claims[which % len(self._claims)]
        seen = {bar for file in taken.files for bar in _bars_of(list(file.runs()))}
        pending = sorted(seen - self._consumed)
        self._try_to_publish(
            taken, [bar for bar, is_in in zip(pending, chosen, strict=False) if is_in]
        )

    @precondition(lambda self: self._claims and self._consumed)
    @rule(which=st.integers(0, N_BARS))
    def publish_a_bar_twice(self, which: int) -> None:
        """The trainer in force tries to fit a bar again."""
        taken = self._live()
        if taken is None:
            return
        seen = {bar for file in taken.files for bar in _bars_of(list(file.runs()))}
        again = sorted(seen & self._consumed)
        if again:
            with pytest.raises(TrainedTwiceError):
                self._try_to_publish(
                    taken, [again[which % len(again)], *sorted(seen - self._consumed)]
                )

    @precondition(lambda self: self._claims)
    @rule(which=st.integers(0, 5))
    def release(self, which: int) -> None:
        """Any trainer gives up."""
        taken = self._claims[which % len(self._claims)]
        self._forget(taken)
        with self._ledger.unit_of_work() as unit:
            release_claim(unit.connection, taken)
            unit.commit("release")

    @rule()
    def delete_processed(self) -> None:
        """Files that are spent go away."""
        with self._ledger.unit_of_work() as unit:
            for sha256 in file_states(unit.connection, KEY):
                mark_deleted(unit.connection, KEY, sha256)
            unit.commit("delete")

    @invariant()
    def account_is_closed(self) -> None:
        """Registered = consumed + pending, and no bar is in two fits."""
        with self._ledger.reader() as conn:
            consumed = _bars_of(consumed_ranges(conn, KEY, "exactly_once"))
            pending = _bars_of(pending_ranges(conn, KEY, "exactly_once", FOREVER_MS))
            rows = conn.execute(select(trained_ranges.c.first_ms, trained_ranges.c.last_ms)).all()
            at_hand = files_as_of(conn, KEY, FOREVER_MS)
        fitted = Counter(_bars_of([BarRange(*row) for row in rows]))
        assert max(fitted.values(), default=1) == 1
        assert set(fitted) == set(consumed) == self._consumed
        assert Counter(consumed + pending) == Counter(self._registered)
        # A pending bar can still be read somewhere.
        assert set(pending) <= {bar for file in at_hand for bar in _bars_of(list(file.runs()))}

    def _live(self) -> Claim | None:
        """Whoever claimed last, unless it gave the claim back or its lease is over."""
        newest = self._newest
        return newest if newest is not None and newest.expires_at_ms > self._now_ms else None

    def _forget(self, taken: Claim) -> None:
        self._claims.remove(taken)
        if taken is self._newest:
            self._newest = None

    def _try_to_publish(self, taken: Claim, fitted: list[int]) -> None:
        if not fitted:
            return
        is_live = taken is self._live()
        with self._ledger.unit_of_work() as unit:
            version = next_version(unit.connection, KEY.stream)
            row = publication(taken, version, *_runs(fitted))
            try:
                publish_training(unit.connection, row, self._now_ms)
            except FencedOffError:
                assert not is_live
                return
            assert is_live
            unit.commit("publish")
        self._forget(taken)
        self._consumed |= set(fitted)


Accounting.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
test_every_registered_bar_is_consumed_or_pending = Accounting.TestCase
