"""The exchange of the tests refuses what the real one refuses: else what is shown with it shows nothing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from eth_account import Account
from hyperliquid.exchange import Exchange
from hyperliquid.utils.signing import recover_agent_or_user_from_l1_action
from hyperliquid.utils.types import Cloid

from tests.account.conftest import Bench
from tests.account.signatures import signer_of

IOC = {"limit": {"tif": "Ioc"}}


@pytest.fixture(name="exchange")
def _exchange(bench: Bench) -> Any:
    """The exchange's own library with the key of the account, free to do anything."""
    exchange = Exchange(
        Account.from_key(bench.key),
        bench.fake.url,
        spot_meta={"universe": [], "tokens": []},
        timeout=5.0,
    )
    exchange.set_expires_after(bench.fake.now_ms() + 60_000)
    yield exchange
    exchange.session.close()
    exchange.info.session.close()


def send(exchange: Any, buy: bool, qty: float, px: float, **more: Any) -> Any:
    """The status of an order of BTC, or the refusal of all of it."""
    options = {"order_type": IOC, "reduce_only": True, "cloid": Cloid(f"0x{7:032x}")} | more
    said = exchange.order("BTC", buy, qty, px, **options)
    return said["response"] if said["status"] == "err" else said["response"]["data"]["statuses"][0]


def test_it_knows_who_signed_as_the_library_does(bench: Bench, exchange: Any) -> None:
    bench.fake.hold("BTC", "1")
    assert "filled" in send(exchange, False, 0.25, 97000.0)
    (body,) = bench.fake.orders
    assert signer_of(body) == bench.fake.account
    by_library = recover_agent_or_user_from_l1_action(
        body["action"], body["signature"], None, body["nonce"], body["expiresAfter"], False
    )
    assert by_library.lower() == bench.fake.account
    assert signer_of(body, mainnet=True) != bench.fake.account
    assert bench.fake.size("BTC") == Decimal("0.75")
    assert bench.fake.violations == []


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["action"]["orders"][0].update(s="0.9"),
        lambda body: body["action"]["orders"][0].update(r=False),
        lambda body: body.update(nonce=body["nonce"] + 1),
        lambda body: body.update(expiresAfter=body["expiresAfter"] + 1),
        lambda body: body.update(expiresAfter=None),
        lambda body: body.update(vaultAddress="0x" + "5" * 40),
    ],
)
def test_what_was_changed_after_signing(
    bench: Bench, exchange: Any, change: Callable[[Any], None]
) -> None:
    bench.fake.misbehave("order", "reject")
    bench.fake.hold("BTC", "1")
    send(exchange, False, 0.25, 97000.0)
    body = copy.deepcopy(bench.fake.orders[0])
    change(body)
    assert "does not exist." in exchange.post("/exchange", body)["response"]
    assert bench.fake.violations[0].startswith("signed by 0x")
    assert bench.fake.size("BTC") == 1


def test_an_order_that_comes_twice(bench: Bench, exchange: Any) -> None:
    bench.fake.hold("BTC", "1")
    send(exchange, False, 0.25, 97000.0)
    assert exchange.post("/exchange", bench.fake.orders[0])["response"] == "Invalid nonce"
    assert bench.fake.size("BTC") == Decimal("0.75")
    assert bench.fake.violations[0].startswith("nonce ")


def test_a_nonce_of_another_week(bench: Bench, exchange: Any) -> None:
    bench.fake.hold("BTC", "1")
    bench.fake.advance(3 * 86_400)
    exchange.set_expires_after(None)
    assert send(exchange, False, 0.25, 97000.0) == "Invalid nonce"
    assert len(bench.fake.violations) == 1


def test_orders_that_expire_and_that_never_do(bench: Bench, exchange: Any) -> None:
    bench.fake.hold("BTC", "1")
    bench.fake.advance(61)
    assert send(exchange, False, 0.25, 97000.0) == "Action expired"
    assert bench.fake.violations == []
    exchange.set_expires_after(None)
    assert "filled" in send(exchange, False, 0.25, 97000.0)
    assert bench.fake.violations == ["an order that never expires"]


@pytest.mark.parametrize(
    ("qty", "px", "said"),
    [
        (0.25, 97000.5, "Price must be divisible by tick size."),
        (0.250001, 97000.0, "Order has invalid size."),
        (0.25, 94000.0, "Too far from the mid."),
        (0.25, 97000.0, ""),
        (0.25, 97123.0, ""),
    ],
)
def test_sizes_and_prices(bench: Bench, exchange: Any, qty: float, px: float, said: str) -> None:
    bench.fake.hold("BTC", "1")
    assert send(exchange, False, qty, px).get("error", "").startswith(said)
    assert len(bench.fake.violations) == bool(said)


def test_an_order_that_would_stay(bench: Bench, exchange: Any) -> None:
    bench.fake.hold("BTC", "1")
    assert "error" in send(exchange, False, 0.25, 97000.0, order_type={"limit": {"tif": "Gtc"}})
    assert len(bench.fake.violations) == 1


def test_reduce_only(bench: Bench, exchange: Any) -> None:
    refused = {"error": "Reduce only order would increase position. asset=0"}
    assert send(exchange, False, 0.25, 97000.0) == refused
    bench.fake.hold("BTC", "1")
    assert send(exchange, True, 0.25, 97300.0) == refused
    bench.fake.oversized = "refused"
    assert send(exchange, False, 1.5, 97000.0) == refused
    bench.fake.oversized = "cut"
    assert send(exchange, False, 1.5, 97000.0)["filled"]["totalSz"] == "1"
    # Without it, a position is opened: what closing must never do would show.
    assert send(exchange, False, 0.5, 97000.0, reduce_only=False)["filled"]["totalSz"] == "0.5"
    assert bench.fake.size("BTC") == Decimal("-0.5")


def test_the_book(bench: Bench, exchange: Any) -> None:
    bench.fake.hold("BTC", "3")
    bench.fake.markets["BTC"].depth = Decimal(2)  # 1 at 97026.3765, 1 at 96152.265
    none = "Order could not immediately match against any resting orders. asset=0"
    assert send(exchange, False, 3.0, 97100.0) == {"error": none}
    filled = send(exchange, False, 3.0, 97000.0)["filled"]
    assert (filled["totalSz"], filled["avgPx"]) == ("1", "97026.3765")
    filled = send(exchange, False, 2.0, 96000.0)["filled"]
    assert (filled["totalSz"], filled["avgPx"]) == ("2", "96589.32075")
    assert bench.fake.held == {}
