"""Whatever an exchange does wrong, and in whatever order, nothing grows, nothing turns, and closed means flat."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

from hypothesis import event, given, settings
from hypothesis import strategies as st

from mei.model.errors import DataError, ServiceUnavailableError
from mei.workflows.account.close import CloseReport, close_all
from tests.account.conftest import Bench, close_bench, new_bench
from tests.account.fake_hyperliquid import Fault

COINS = ("BTC", "ETH", "kPEPE")
SIZES = st.sampled_from(["-7", "-3", "1", "2", "12"])
KINDS = ("drop", "garbage", "odd")

ORDER_FAULTS = st.one_of(
    st.just(Fault("none")),
    st.sampled_from([Fault(f"{kind}_{when}") for kind in KINDS for when in ("before", "after")]),
    st.sampled_from([Fault("reject"), Fault("err"), Fault("http_before", 429)]),
    st.sampled_from([Fault("http_before", 500), Fault("http_after", 500)]),
    st.sampled_from([Fault("thin", "0"), Fault("thin", "1"), Fault("thin", "4")]),
    st.sampled_from([Fault("late", ms) for ms in (1, 3_000, 6_000, 50_000, 90_000)]),
)
QUESTION_FAULTS = st.sampled_from(
    [
        Fault("none"),
        Fault("stale"),
        Fault("working"),
        Fault("http", 500),
        *(Fault(kind) for kind in KINDS),
    ]
)
OUTSIDE = st.builds(
    lambda coin, size: Fault("outside", (coin, size)), st.sampled_from(COINS), SIZES
)
HELD = st.dictionaries(st.sampled_from(COINS), SIZES, min_size=1)


def faults(kind: st.SearchStrategy[Fault]) -> st.SearchStrategy[list[Fault]]:
    """A row of misbehaviours."""
    return st.lists(kind, max_size=10)


def after_a_good_start(kind: st.SearchStrategy[Fault]) -> st.SearchStrategy[list[Fault]]:
    """As `faults`; three times of four the first request is spared, for without positions there is nothing to close."""
    start = st.sampled_from([[Fault("none")]] * 3 + [[]])
    return st.builds(lambda first, rest: first + rest, start, faults(kind))


@contextmanager
def exchange(
    held: dict[str, str], order: list[Fault], state: list[Fault], status: list[Fault], cut: bool
) -> Iterator[Bench]:
    """An exchange that holds `held` and will misbehave."""
    bench = new_bench()
    try:
        for coin, size in held.items():
            bench.fake.hold(coin, size)
        bench.fake.advance(100)  # what a cache still shows of the time before is old
        bench.fake.oversized = "cut" if cut else "refused"
        bench.fake.misbehave("order", *order)
        bench.fake.misbehave("clearinghouseState", *state)
        bench.fake.misbehave("orderStatus", *status)
        yield bench
    finally:
        close_bench(bench)


def closed(bench: Bench, max_attempts: int) -> CloseReport | None:
    """The report; None when the account could not be read and nothing was sent. Holds what always holds."""
    fake = bench.fake
    try:
        report = close_all(
            bench.account, max_attempts=max_attempts, sleep=bench.sleep, tell=bench.told.append
        )
    except (ServiceUnavailableError, DataError):
        assert fake.orders == []
        return None
    assert fake.violations == []
    for one in fake.executed:
        assert abs(one.after) < abs(one.before)
        assert one.after * one.before >= 0
    coins = [list(fake.markets)[body["action"]["orders"][0]["a"]] for body in fake.orders]
    for symbol in report.symbols:
        assert coins.count(symbol.symbol) <= symbol.attempts <= max_attempts
        assert symbol.closed == (symbol.left_qty == 0.0 and symbol.reason == "")
    assert {one.symbol for one in report.symbols} <= set(COINS)
    assert bench.key[2:] not in "".join(bench.told)
    event("closed" if report.closed else "not closed")
    return report


@settings(max_examples=80, deadline=None)
@given(
    HELD,
    faults(ORDER_FAULTS),
    after_a_good_start(QUESTION_FAULTS),
    faults(QUESTION_FAULTS),
    st.booleans(),
    st.integers(1, 4),
)
def test_closed_means_flat(
    held: dict[str, str],
    order: list[Fault],
    state: list[Fault],
    status: list[Fault],
    cut: bool,
    max_attempts: int,
) -> None:
    with exchange(held, order, state, status, cut) as bench:
        report = closed(bench, max_attempts)
        if report is None:
            return
        assert {one.symbol for one in report.symbols} == set(held)
        for one in report.symbols:
            if one.closed:
                assert bench.fake.size(one.symbol) == 0
            elif one.left_qty is not None:
                assert abs(float(bench.fake.size(one.symbol))) <= one.left_qty
        # What was sent late must not touch what the user does an hour later.
        bench.fake.advance(61)
        for coin in COINS:
            bench.fake.hold(coin, "5")
        bench.fake.advance(3_600)
        assert [bench.fake.size(coin) for coin in COINS] == [Decimal(5)] * 3


@settings(max_examples=80, deadline=None)
@given(
    HELD,
    faults(ORDER_FAULTS | OUTSIDE),
    after_a_good_start(QUESTION_FAULTS | OUTSIDE),
    faults(QUESTION_FAULTS),
    st.booleans(),
)
def test_closed_means_flat_after_the_last_order_also_when_others_trade(
    held: dict[str, str], order: list[Fault], state: list[Fault], status: list[Fault], cut: bool
) -> None:
    with exchange(held, order, state, status, cut) as bench:
        report = closed(bench, 3)
        if report is None:
            return
        for one in report.symbols:
            if one.closed:
                sizes = bench.fake.sizes[one.symbol]
                last_order_ms = bench.fake.last_order_ms.get(one.symbol, 0)
                flat = [
                    at_ms
                    for number, (at_ms, size) in enumerate(sizes)
                    if size == 0
                    and (number + 1 == len(sizes) or sizes[number + 1][0] > last_order_ms)
                ]
                assert flat, (one, sizes, last_order_ms)
