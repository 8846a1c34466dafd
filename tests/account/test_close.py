"""close_all against an exchange that misbehaves: every misbehaviour, and the report it must end in."""

from __future__ import annotations

from decimal import Decimal

import pytest

from mei.model.errors import DataError, ServiceUnavailableError
from mei.workflows.account.close import SymbolClose, close_all
from mei.workflows.account.hyperliquid import HyperliquidAccount
from mei.workflows.account.secrets import AccountSecrets
from tests.account.conftest import Bench
from tests.account.fake_hyperliquid import ZERO, Fault


def only(bench: Bench) -> SymbolClose:
    """What became of the one symbol there was."""
    report = bench.close_all()
    (symbol,) = report.symbols
    assert report.closed == symbol.closed
    return symbol


def test_all_of_it_is_closed_at_once(bench: Bench) -> None:
    bench.fake.hold("kPEPE", "1000000")
    bench.fake.hold("ETH", "-2.5")
    bench.fake.hold("BTC", "0.50001")
    report = bench.close_all()
    assert report.closed
    assert [(one.symbol, one.side, one.qty, one.attempts) for one in report.symbols] == [
        ("BTC", "LONG", 0.50001, 1),
        ("ETH", "SHORT", 2.5, 1),
        ("kPEPE", "LONG", 1_000_000.0, 1),
    ]
    assert report.lines()[1] == "ETH SHORT 2.5: closed, 1 order"
    assert bench.fake.held == {}
    # Three symbols are waited for together.
    assert bench.slept_s == [5.0]
    orders = [body["action"]["orders"][0] for body in bench.fake.orders]
    assert [(order["a"], order["b"], order["r"]) for order in orders] == [
        (0, False, True),
        (1, True, True),
        (2, False, True),
    ]
    assert [order["p"] for order in orders] == ["95182", "3265.5", "0.012099"]


def test_nothing_held_needs_no_order(bench: Bench) -> None:
    report = bench.close_all()
    assert report.closed
    assert report.symbols == ()
    assert bench.fake.asked == ["clearinghouseState"]
    assert bench.slept_s == []


def test_what_is_filled_in_part_is_closed_by_the_next_order(bench: Bench) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("order", Fault("thin", "0.2"))
    symbol = only(bench)
    assert (symbol.closed, symbol.attempts, symbol.left_qty) == (True, 2, 0.0)
    sizes = [body["action"]["orders"][0]["s"] for body in bench.fake.orders]
    assert sizes == ["0.5", "0.3"]
    assert bench.slept_s == [5.0, 5.0]


def test_three_orders_and_no_more(bench: Bench) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("order", *[Fault("thin", "0.1")] * 3)
    symbol = only(bench)
    assert (symbol.closed, symbol.attempts, symbol.left_qty) == (False, 3, 0.2)
    assert symbol.reason == (
        "still open after 3 orders; the last one ended as canceled, 0.1 filled"
    )
    assert bench.fake.size("BTC") == Decimal("0.2")
    assert len(bench.fake.orders) == 3


def test_another_number_of_attempts_and_other_waits(bench: Bench) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("order", "reject", Fault("thin", "0.1"), "reject", "reject")
    report = bench.close_all(max_attempts=4, verify_after_s=1.0, retry_after_s=0.5)
    assert not report.closed
    assert report.symbols[0].attempts == 4
    assert bench.slept_s == [0.5, 1.0, 0.5, 0.5]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("reject"), "Insufficient margin to place order. asset=0"),
        (Fault("err"), "the exchange is in maintenance"),
        (Fault("http_before", 429), "HTTP 429: as told"),
        (Fault("http_before", 422), "HTTP 422: as told"),
    ],
)
def test_a_rejected_order_is_made_again_two_seconds_later(
    bench: Bench, fault: Fault, said: str
) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("order", fault)
    symbol = only(bench)
    assert (symbol.closed, symbol.attempts) == (True, 2)
    assert bench.slept_s == [2.0, 5.0]
    assert bench.told[0] == f"BTC: LONG 0.5, order 1 of 3 rejected: {said}"


def test_an_order_that_is_always_rejected_says_why(bench: Bench) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.markets["BTC"].depth = ZERO
    bench.fake.hold("ETH", "1")
    report = bench.close_all()
    btc, eth = report.symbols
    assert eth.closed
    assert not report.closed
    assert (btc.closed, btc.attempts, btc.left_qty) == (False, 3, 0.5)
    assert btc.reason == (
        "still open after 3 orders; the last one was rejected: "
        "Order could not immediately match against any resting orders. asset=0"
    )
    assert report.lines()[0].startswith("BTC LONG 0.5: NOT CLOSED, 0.5 left: still open after")
    assert bench.slept_s == [2.0, 2.0, 1.0, 1.0]  # ETH is looked at in its own time, after 5 s


def bench_for(fault: Fault | str, request: pytest.FixtureRequest) -> Bench:
    """An account that does not wait long where there is something to wait for."""
    kind = fault if isinstance(fault, str) else fault.kind
    name = "hasty" if kind.startswith(("silence", "drip")) else "bench"
    found = request.getfixturevalue(name)
    assert isinstance(found, Bench)
    return found


AFTER = (
    "drop_after",
    "garbage_after",
    "odd_after",
    Fault("http_after", 500),
    "silence_after",
    "drip_after",
)
BEFORE = (
    "drop_before",
    "garbage_before",
    "odd_before",
    Fault("http_before", 502),
    "silence_before",
    "drip_before",
)


@pytest.mark.parametrize("fault", AFTER)
def test_an_order_executed_without_an_answer_is_not_repeated(
    fault: Fault | str, request: pytest.FixtureRequest
) -> None:
    bench = bench_for(fault, request)
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("order", fault)
    symbol = only(bench)
    assert (symbol.closed, symbol.attempts) == (True, 1)
    assert len(bench.fake.orders) == 1
    assert bench.slept_s == [5.0]
    assert "not answered" in bench.told[0]


@pytest.mark.parametrize("fault", BEFORE)
def test_an_order_that_did_not_arrive_is_made_again_after_a_look(
    fault: Fault | str, request: pytest.FixtureRequest
) -> None:
    bench = bench_for(fault, request)
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("order", fault)
    symbol = only(bench)
    assert (symbol.closed, symbol.attempts) == (True, 2)
    assert len(bench.fake.orders) == 2
    assert bench.slept_s == [5.0, 5.0]
    between = bench.fake.asked[bench.fake.asked.index("order") + 1 :]
    assert between[:2] == ["orderStatus", "clearinghouseState"]


def test_no_answer_at_all_ends_open_and_says_what_may_come(hasty: Bench) -> None:
    hasty.fake.hold("BTC", "0.5")
    hasty.fake.misbehave("order", *["silence_before"] * 3)
    symbol = only(hasty)
    assert (symbol.closed, symbol.attempts, symbol.left_qty) == (False, 3, 0.5)
    assert symbol.reason.startswith("still open after 3 orders; the last one was not answered (")
    assert symbol.reason.endswith("and may be executed within a minute")


@pytest.mark.parametrize(("late_ms", "attempts"), [(3_000, 1), (7_000, 2)])
def test_a_late_order_and_the_next_one_do_not_close_twice(
    bench: Bench, late_ms: int, attempts: int
) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("order", Fault("late", late_ms))
    symbol = only(bench)
    assert (symbol.closed, symbol.attempts) == (True, attempts)
    bench.fake.advance(60)
    assert bench.fake.size("BTC") == 0
    assert [one.after for one in bench.fake.executed] == [ZERO]


def test_an_order_that_arrives_minutes_later_is_refused(bench: Bench) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("order", Fault("late", 300_000))
    assert only(bench).closed
    bench.fake.hold("BTC", "0.7")  # the user's next position
    bench.fake.advance(400)
    assert bench.fake.size("BTC") == Decimal("0.7")


def test_old_positions_are_read_again_and_cost_no_order(bench: Bench) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("clearinghouseState", "none", "stale", "stale")
    symbol = only(bench)
    assert (symbol.closed, symbol.attempts) == (True, 1)
    assert len(bench.fake.orders) == 1
    assert bench.slept_s == [5.0, 2.0, 2.0]
    assert "ms older than what it has told already" in bench.told[1]


def test_old_positions_without_end_are_not_taken_for_an_answer(bench: Bench) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("clearinghouseState", "none", *["stale"] * 50)
    symbol = only(bench)
    assert (symbol.closed, symbol.attempts, symbol.left_qty) == (False, 1, None)
    assert symbol.reason.startswith("what is open could not be read after 1 order: ")
    assert bench.slept_s == [5.0] + [2.0] * 5
    assert len(bench.fake.orders) == 1


def test_patience_begins_anew_with_each_order(bench: Bench) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("order", Fault("thin", "0.2"))
    old = ["stale"] * 4
    bench.fake.misbehave("clearinghouseState", "none", *old, "none", *old)
    symbol = only(bench)
    assert (symbol.closed, symbol.attempts) == (True, 2)
    assert bench.slept_s == [5.0] + [2.0] * 4 + [5.0] + [2.0] * 4


@pytest.mark.parametrize("kind", ["garbage", "odd", "drop", "silence", "drip", "http"])
def test_positions_that_cannot_be_read_are_read_again(
    kind: str, request: pytest.FixtureRequest
) -> None:
    bench = bench_for(kind, request)
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("clearinghouseState", "none", *[Fault(kind, 503)] * 2)
    symbol = only(bench)
    assert (symbol.closed, symbol.attempts) == (True, 1)
    assert len(bench.fake.orders) == 1


def test_positions_that_stay_unreadable_are_not_called_closed(bench: Bench) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("clearinghouseState", "none", *[Fault("http", 500)] * 50)
    symbol = only(bench)
    assert (symbol.closed, symbol.attempts, symbol.left_qty) == (False, 1, None)
    assert "must answer clearinghouseState, did not in 2 tries (HTTP 500: " in symbol.reason


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("http", ServiceUnavailableError),
        ("garbage", ServiceUnavailableError),
        ("drop", ServiceUnavailableError),
        ("odd", DataError),
    ],
)
def test_an_account_that_cannot_be_read_gets_no_order(
    bench: Bench, kind: str, error: type[Exception]
) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("clearinghouseState", *[Fault(kind, 500)] * 12)
    with pytest.raises(error):
        close_all(bench.account, sleep=bench.sleep, tell=bench.told.append)
    assert bench.fake.orders == []
    assert bench.slept_s == [2.0] * 5


def test_positions_do_not_go_back_in_time(bench: Bench) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("order", "reject", "reject")
    outside = Fault("outside", ("BTC", "0.9"))
    bench.fake.misbehave("clearinghouseState", "none", outside, "stale")
    symbol = only(bench)
    assert (symbol.closed, symbol.attempts) == (True, 3)
    assert bench.slept_s == [2.0, 2.0, 2.0, 5.0]  # the second look is an old one: another follows
    sizes = [body["action"]["orders"][0]["s"] for body in bench.fake.orders]
    assert sizes == ["0.5", "0.9", "0.9"]


def test_an_order_that_is_worked_on_is_waited_for(bench: Bench) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("orderStatus", "working", "working")
    symbol = only(bench)
    assert (symbol.closed, symbol.attempts) == (True, 1)
    assert bench.slept_s == [5.0, 2.0, 2.0]


def test_an_order_that_is_worked_on_for_ever_is_not_called_closed(bench: Bench) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("orderStatus", *["working"] * 50)
    symbol = only(bench)
    assert (symbol.closed, symbol.attempts, symbol.left_qty) == (False, 1, None)
    assert symbol.reason == (
        "what is open could not be read after 1 order: an order is being worked on still"
    )


def test_an_old_answer_without_positions_is_not_taken_for_flat(bench: Bench) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.advance(100)
    bench.fake.misbehave("clearinghouseState", *["stale"] * 12)
    with pytest.raises(ServiceUnavailableError, match="what it holds 110 s ago by this machine's"):
        bench.close_all()
    assert bench.fake.orders == []


@pytest.mark.parametrize(
    ("wrong_ms", "said"),
    [(40_000, "40 s ago"), (-50_000, "50 s ahead"), (20_000, ""), (-40_000, "")],
)
def test_a_clock_that_is_wrong(bench: Bench, wrong_ms: int, said: str) -> None:
    secrets = AccountSecrets(bench.key, bench.fake.account, "secrets.json")
    bench.account.close()
    bench.account = HyperliquidAccount(
        secrets, bench.fake.url, 5.0, now_ms=lambda: bench.fake.now_ms() + wrong_ms
    )
    bench.fake.hold("BTC", "0.5")
    if not said:
        assert only(bench).closed
        return
    with pytest.raises(ServiceUnavailableError, match=f"{said} by this machine's clock"):
        bench.close_all()
    assert bench.fake.orders == []


@pytest.mark.parametrize("kind", ["garbage", "odd", "http"])
def test_without_the_fate_of_orders_the_positions_decide(bench: Bench, kind: str) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("order", Fault("thin", "0.2"), "drop_after")
    bench.fake.misbehave("orderStatus", *[Fault(kind, 500)] * 50)
    symbol = only(bench)
    assert (symbol.closed, symbol.attempts) == (True, 2)


@pytest.mark.parametrize("question", ["meta", "allMids"])
@pytest.mark.parametrize("kind", ["garbage", "odd", "http"])
def test_without_prices_no_order_is_sent(bench: Bench, question: str, kind: str) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave(question, *[Fault(kind, 500)] * 2)
    symbol = only(bench)
    assert symbol.closed
    # An answer that is no answer is refused at once, the rest is asked for twice.
    assert symbol.attempts == (3 if kind == "odd" else 2)
    # Mids in another shape are mids without this symbol.
    of_another_shape = (kind, question) == ("odd", "allMids")
    said = "the exchange has no mid price of it" if of_another_shape else "no order was sent: "
    assert f"rejected: {said}" in bench.told[0]


@pytest.mark.parametrize(
    ("flag", "said"),
    [("listed", "does not list the symbol"), ("quoted", "has no mid price of it")],
)
def test_a_symbol_that_cannot_be_priced_stays_open(bench: Bench, flag: str, said: str) -> None:
    bench.fake.list_market("OLD", 2, "5.5")
    bench.fake.hold("OLD", "3")
    bench.fake.hold("ETH", "1")
    setattr(bench.fake.markets["OLD"], flag, False)
    eth, old = bench.close_all().symbols
    assert eth.closed
    assert not old.closed
    assert said in old.reason


def test_a_position_that_turned_is_closed_the_other_way(bench: Bench) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("clearinghouseState", "none", Fault("outside", ("BTC", "-0.3")))
    symbol = only(bench)
    assert (symbol.closed, symbol.attempts) == (True, 2)
    assert [body["action"]["orders"][0]["b"] for body in bench.fake.orders] == [False, True]
    assert bench.told[1].startswith("BTC: SHORT 0.3, order 2 of 3 filled 0.3")


def test_a_position_that_turned_before_the_order_came_is_not_made_larger(bench: Bench) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("order", Fault("outside", ("BTC", "-0.3")))
    symbol = only(bench)
    assert (symbol.closed, symbol.attempts) == (True, 2)
    assert [one.before for one in bench.fake.executed] == [Decimal("-0.3")]


def test_a_position_that_grew_is_closed_whole(bench: Bench) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("clearinghouseState", "none", Fault("outside", ("BTC", "0.9")))
    symbol = only(bench)
    assert (symbol.closed, symbol.attempts, symbol.qty) == (True, 2, 0.5)
    assert bench.fake.orders[1]["action"]["orders"][0]["s"] == "0.9"


@pytest.mark.parametrize(("oversized", "attempts"), [("cut", 1), ("refused", 2)])
def test_an_order_larger_than_what_is_left(bench: Bench, oversized: str, attempts: int) -> None:
    bench.fake.oversized = oversized
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("order", Fault("outside", ("BTC", "0.2")))
    symbol = only(bench)
    assert (symbol.closed, symbol.attempts) == (True, attempts)
    assert bench.fake.size("BTC") == 0


def test_what_is_opened_meanwhile_is_closed_too(bench: Bench) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.misbehave("clearinghouseState", "none", Fault("outside", ("ETH", "-1")))
    report = bench.close_all()
    assert [(one.symbol, one.closed, one.attempts) for one in report.symbols] == [
        ("BTC", True, 1),
        ("ETH", True, 1),
    ]
    assert bench.fake.held == {}


def test_what_is_opened_again_is_not_called_closed(bench: Bench) -> None:
    bench.fake.hold("BTC", "0.5")
    bench.fake.hold("ETH", "1")
    # ETH takes longer; BTC is opened again each time it has been seen flat.
    bench.fake.misbehave("order", "none", *[Fault("thin", "0.1")] * 9)
    again = Fault("outside", ("BTC", "0.4"))
    bench.fake.misbehave("clearinghouseState", "none", "none", again, again, again)
    report = bench.close_all()
    btc, _ = report.symbols
    assert not btc.closed
    assert btc.attempts == 3
    assert "BTC: was closed and is open again" in bench.told


def test_what_is_told_and_shown_has_no_key(hasty: Bench) -> None:
    hasty.fake.hold("BTC", "0.5")
    hasty.fake.misbehave("order", "silence_before", "odd_before", Fault("http_before", 500))
    report = hasty.close_all()
    shown = "\n".join([*hasty.told, *report.lines(), repr(report), repr(hasty.account)])
    assert hasty.key[2:] not in shown.lower()
