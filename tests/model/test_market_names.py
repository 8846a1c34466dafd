"""Which names are the same market."""

from __future__ import annotations

import pytest

from mei.model.market_names import listed, market_of, meant, same_markets


@pytest.mark.parametrize(
    "name",
    [
        *("BTC", "btc", "BTCUSDT", "BTCUSD", "BTCFDUSD", "BTC/USDT", "BTC_USDC", "BTC-USD"),
        *("BTC/USDT:USDT", "BTC/USD:BTC", "BTC-PERP", "BTCPERP", "BTC-USDT-SWAP", "BTC_USDT_PERP"),
    ],
)
def test_names_of_bitcoin_in_dollars(name: str) -> None:
    assert market_of(name) == ("BTC", "USD")


@pytest.mark.parametrize(
    ("name", "market"),
    [
        ("ETH/BTC", ("ETH", "BTC")),
        ("ETHBTC", ("ETHBTC", "USD")),
        ("BTCEUR", ("BTC", "EUR")),
        ("BTC/EUR", ("BTC", "EUR")),
        ("BTC/USDT:USDT-241227", ("BTC/USDT:USDT-241227", "")),
        ("BTC_USDT_BINANCE", ("BTC_USDT_BINANCE", "")),
        ("USDT", ("USDT", "USD")),
        ("kPEPE", ("KPEPE", "USD")),
        ("WBTC", ("WBTC", "USD")),
        ("", ("", "USD")),
        ("/", ("/", "USD")),
    ],
)
def test_other_names_are_other_markets(name: str, market: tuple[str, str]) -> None:
    assert market_of(name) == market


def test_names_of_one_market_are_found_together() -> None:
    names = ["BTC", "BTC/USDT", "BTCEUR", "ETHUSDT", "SOL", "eth", "BTC-241227"]
    assert same_markets(names) == [["BTC", "BTC/USDT"], ["ETHUSDT", "eth"]]
    assert same_markets(["BTC", "ETH"]) == []


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ("BTC", "BTCUSDT"),
        ("BTC/USDT:USDT", "BTCUSDT"),
        ("SOLUSDC", "SOL/USDT"),
        ("DOGUSDT", "DOGEUSDT"),
        ("KPEPE", "kPEPE"),
        ("XRP", None),
    ],
)
def test_what_is_meant(asked: str, name: str | None) -> None:
    assert meant(asked, ["AAVEUSDT", "BTCUSDT", "DOGEUSDT", "SOL/USDT", "kPEPE"]) == name


def test_long_lists_are_cut() -> None:
    assert listed(["A", "B"]) == "A, B"
    assert listed(list("ABCDEF")) == "A, B, C, D, E, … (6 in all)"
