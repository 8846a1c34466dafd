"""What the exchange answers: read right, or refused in one line, whatever is in it."""

from __future__ import annotations

import contextlib
import copy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mei.model.errors import DataError
from mei.workflows.account import answers
from mei.workflows.account.live_account import AccountState, LivePosition, OrderAnswer, OrderFate

STATE: dict[str, Any] = {
    "marginSummary": {"accountValue": "1234.5", "totalMarginUsed": "20.0"},
    "assetPositions": [
        {
            "type": "oneWay",
            "position": {
                "coin": "ETH",
                "szi": "-2.5",
                "entryPx": "3201.55",
                "leverage": {"type": "isolated", "value": 20, "rawUsd": "1.0"},
                "marginUsed": "400.19",
            },
        },
        {
            "type": "oneWay",
            "position": {
                "coin": "BTC",
                "szi": "0.00001",
                "entryPx": "97000",
                "leverage": {"type": "cross", "value": 3},
                "marginUsed": "0.32",
            },
        },
        {"type": "oneWay", "position": {"coin": "SOL", "szi": "0.0"}},
    ],
    "time": 1_795_000_000_123,
}
FATE: dict[str, Any] = {
    "status": "order",
    "order": {
        "order": {"coin": "BTC", "origSz": "0.5", "sz": "0.3", "cloid": "0x00"},
        "status": "canceled",
        "statusTimestamp": 1_795_000_000_456,
    },
}


def test_a_state() -> None:
    assert answers.account_state(STATE) == AccountState(
        balance_usd=1234.5,
        positions=(
            LivePosition("BTC", "LONG", 0.00001, 97000.0, 3.0, 0.32),
            LivePosition("ETH", "SHORT", 2.5, 3201.55, 20.0, 400.19),
        ),
        as_of_ms=1_795_000_000_123,
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("marginSummary", "accountValue"), "NaN"),
        (("marginSummary", "accountValue"), None),
        (("marginSummary",), []),
        (("assetPositions",), None),
        (("assetPositions", 0, "position", "szi"), "1e5"),
        (("assetPositions", 0, "position", "szi"), "inf"),
        (("assetPositions", 0, "position", "szi"), True),
        (("assetPositions", 0, "position", "coin"), "BTC"),  # twice: which one holds?
        (("assetPositions", 0, "position", "coin"), 7),
        (("assetPositions", 0, "position", "entryPx"), None),
        (("assetPositions", 0, "position", "leverage"), 20),
        (("time",), None),
        (("time",), "1795000000123"),
        (("time",), 0),
    ],
)
def test_a_state_that_is_none(path: tuple[str | int, ...], value: object) -> None:
    with pytest.raises(DataError, match="must answer clearinghouseState as its API says") as caught:
        answers.account_state(changed(STATE, path, value))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (
            {"filled": {"totalSz": "0.2", "avgPx": "97000.5", "oid": 1}},
            OrderAnswer("accepted", 0.2, 97000.5),
        ),
        ({"error": "Invalid  price.\n"}, OrderAnswer("rejected", reason="Invalid price.")),
    ],
)
def test_an_answer_to_an_order(said: dict[str, Any], answer: OrderAnswer) -> None:
    full = {"status": "ok", "response": {"type": "order", "data": {"statuses": [said]}}}
    assert answers.order_answer(full) == answer


@pytest.mark.parametrize(
    "answer",
    [
        None,
        [],
        "ok",
        {},
        {"error": "Could not parse JSON: <html>"},
        {"status": "ok", "response": {"type": "default"}},
        {"status": "ok", "response": {"type": "order", "data": {"statuses": []}}},
        {"status": "ok", "response": {"data": {"statuses": [{"resting": {"oid": 5}}]}}},
        {"status": "ok", "response": {"data": {"statuses": ["waitingForFill"]}}},
        {"status": "ok", "response": {"data": {"statuses": [{"error": "a"}, {"error": "b"}]}}},
        {"status": "ok", "response": {"data": {"statuses": [{"filled": {"totalSz": "x"}}]}}},
        {"status": "new", "response": {"data": {"statuses": [{"error": "a"}]}}},
    ],
)
def test_what_cannot_be_understood_is_unknown(answer: object) -> None:
    assert answers.order_answer(answer).outcome == "unknown"


@pytest.mark.parametrize(
    ("status", "left", "fate"),
    [
        ("filled", "0.0", OrderFate("done", 0.5, 1_795_000_000_456, "filled")),
        ("canceled", "0.3", OrderFate("done", 0.2, 1_795_000_000_456, "canceled")),
        ("open", "0.3", OrderFate("open", 0.2, 1_795_000_000_456, "open")),
        (
            "iocCancelRejected",
            "0.5",
            OrderFate("done", 0.0, 1_795_000_000_456, "iocCancelRejected"),
        ),
        ("rejected", "0.0", OrderFate("done", 0.0, 1_795_000_000_456, "rejected")),
    ],
)
def test_the_fate_of_an_order(status: str, left: str, fate: OrderFate) -> None:
    content = changed(FATE, ("order", "status"), status)
    assert answers.order_fate(changed(content, ("order", "order", "sz"), left)) == fate


def test_an_order_nobody_knows() -> None:
    assert answers.order_fate({"status": "unknownOid"}) == OrderFate("absent")


def test_mids() -> None:
    mids = {"BTC": "97000.5", "ETH": "0"}
    assert answers.mid_price(mids, "BTC") == Decimal("97000.5")
    assert answers.mid_price(mids, "ETH") is None
    assert answers.mid_price(mids, "SOL") is None
    for wrong in (None, [], {"BTC": "NaN"}, {"BTC": None}, {"BTC": "1e5"}):
        with pytest.raises(DataError, match="must answer allMids"):
            answers.mid_price(wrong, "BTC")


def test_lots_of_symbols() -> None:
    assert answers.size_decimals({"universe": [{"name": "BTC", "szDecimals": 5}]}) == {"BTC": 5}
    for wrong in (-1, 7, "5", None):
        with pytest.raises(DataError, match="must answer meta"):
            answers.size_decimals({"universe": [{"name": "BTC", "szDecimals": wrong}]})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
PATHS = st.lists(
    st.sampled_from(["marginSummary", "assetPositions", 0, 1, "position", "szi", "order"])
)


@settings(max_examples=300)
@given(JSON, PATHS, st.sampled_from([STATE, FATE]))
def test_nothing_in_an_answer_breaks_the_reader(value: Any, path: list[Any], content: Any) -> None:
    try:
        broken = changed(content, tuple(path), value)
    except (KeyError, IndexError, TypeError):
        broken = value
    readers = (
        answers.account_state,
        answers.order_fate,
        answers.size_decimals,
        answers.resting_orders,
        answers.owner_of_signer,
    )
    for read in readers:
        with contextlib.suppress(DataError):
            read(broken)
    assert answers.order_answer(broken).outcome in ("accepted", "rejected", "unknown")


def changed(content: Any, path: tuple[Any, ...], value: object) -> Any:
    """A copy of `content` with another value at `path`."""
    if not path:
        return value
    copied = copy.deepcopy(content)
    place = copied
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return copied
