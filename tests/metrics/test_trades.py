"""Closed trades and what they amount to, against values worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mei.metrics.trades import (
    Pairing,
    PairingError,
    RoundTrip,
    TradeAction,
    breakdown,
    trade_numbers,
    turnover,
)

ENTRY = TradeAction(
    1_000, "BTC/USDT", "m", "open", "buy", 10.0, 100.0, 1_000.0, 0.1, 0.2, 0.0, "fast", "3", "up"
)
EXIT = replace(
    ENTRY,
    timestamp=61_000,
    action="close",
    side="sell",
    price=101.0,
    fee=0.15,
    pnl=10.0,
    reason="stop",
)


def trip_of(pnl: float, preset: str = "fast") -> RoundTrip:
    """A trade of 1,000 notional with fees of 0.25."""
    pairing = Pairing()
    pairing.add(replace(ENTRY, config_id=preset))
    trip = pairing.add(replace(EXIT, pnl=pnl))
    assert trip is not None
    return trip


def test_open_and_close_make_one_trade_net_of_both_fees() -> None:
    trip = trip_of(10.0)
    assert trip.net_pnl == pytest.approx(9.75)
    assert trip.net_bps == pytest.approx(97.5)
    assert trip.slippage == pytest.approx(0.4)
    assert (trip.direction, trip.opened_ms, trip.closed_ms) == (1, 1_000, 61_000)
    assert (trip.exit_reason, trip.preset, trip.model_version) == ("stop", "fast", "3")


def test_adds_and_partial_exits_belong_to_the_trade_they_happen_in() -> None:
    pairing = Pairing()
    add = replace(ENTRY, action="add", qty=5.0, price=103.0, notional=515.0, fee=0.05)
    part = replace(EXIT, action="reduce", qty=6.0, price=104.0, notional=624.0, fee=0.06, pnl=18.0)
    last = replace(EXIT, qty=9.0, price=99.0, notional=891.0, pnl=-18.0, reason="trail")
    assert [pairing.add(one) for one in (ENTRY, add, part)] == [None, None, None]
    assert pairing.n_open == 1
    trip = pairing.add(last)
    assert trip is not None
    assert (trip.qty, trip.entry_notional, trip.gross_pnl) == (15.0, 1_515.0, 0.0)
    assert trip.entry_px == pytest.approx(101.0)
    assert trip.exit_px == pytest.approx((624.0 + 891.0) / 15.0)
    assert trip.fees == pytest.approx(0.1 + 0.05 + 0.06 + 0.15)
    assert trip.slippage == pytest.approx(0.8)
    assert (trip.exit_reason, pairing.n_open) == ("trail", 0)


@pytest.mark.parametrize("action", ["add", "reduce"])
def test_adds_and_partial_exits_need_a_position(action: str) -> None:
    with pytest.raises(PairingError, match=f"holds none and cannot {action}"):
        Pairing().add(replace(ENTRY, action=action))


def test_entry_that_sells_is_a_short() -> None:
    pairing = Pairing()
    pairing.add(replace(ENTRY, side="sell"))
    trip = pairing.add(replace(EXIT, side="buy"))
    assert trip is not None
    assert trip.direction == -1


def test_books_are_paired_apart() -> None:
    pairing = Pairing()
    assert pairing.add(ENTRY) is None
    assert pairing.add(replace(ENTRY, instrument="ETH/USDT")) is None
    trip = pairing.add(replace(EXIT, instrument="ETH/USDT"))
    assert trip is not None
    assert trip.instrument == "ETH/USDT"
    assert pairing.n_open == 1


def test_close_without_a_position_is_refused() -> None:
    with pytest.raises(PairingError, match="holds none and cannot close"):
        Pairing().add(EXIT)


def test_open_on_a_position_is_refused() -> None:
    pairing = Pairing()
    pairing.add(ENTRY)
    with pytest.raises(PairingError, match="holds a position and cannot open"):
        pairing.add(ENTRY)


def test_regime_of_the_entry_is_kept() -> None:
    pairing = Pairing(lambda strategy, instrument, opened_ms: f"{strategy}{opened_ms}")
    pairing.add(ENTRY)
    trip = pairing.add(EXIT)
    assert trip is not None
    assert trip.regime == "m1000"


def test_numbers_of_three_trades_match_the_hand_computation() -> None:
    # net: 9.75, 4.75, -5.25
    numbers = trade_numbers([trip_of(10.0), trip_of(5.0), trip_of(-5.0)])
    value = {name: number.value for name, number in numbers.items()}
    assert value["n_trades"] == 3
    assert value["win_rate"] == pytest.approx(2 / 3)
    assert value["net_pnl"] == pytest.approx(9.25)
    assert value["gross_pnl"] == pytest.approx(10.0)
    assert value["fees"] == pytest.approx(0.75)
    assert value["slippage"] == pytest.approx(1.2)
    assert value["expectancy"] == pytest.approx(9.25 / 3)
    assert value["expectancy_bps"] == pytest.approx(92.5 / 3)
    assert value["average_win_bps"] == pytest.approx(72.5)
    assert value["average_loss_bps"] == pytest.approx(-52.5)
    assert value["profit_factor"] == pytest.approx(14.5 / 5.25)
    assert value["average_holding"] == 60_000


def test_trade_that_only_pays_fees_is_a_loss() -> None:
    numbers = trade_numbers([trip_of(0.0)])
    assert numbers["win_rate"].value == 0.0
    assert numbers["average_loss_bps"].value == pytest.approx(-2.5)


def test_trade_that_earns_just_its_fees_is_no_win() -> None:
    trip = trip_of(0.25)
    assert trip.net_pnl == 0.0
    numbers = trade_numbers([trip])
    assert numbers["win_rate"].value == 0.0
    assert numbers["average_win_bps"].reason == "no winning trade"


def test_without_trades_means_are_none_with_a_reason_and_sums_zero() -> None:
    numbers = trade_numbers([])
    assert (numbers["win_rate"].value, numbers["win_rate"].reason) == (None, "no closed trade")
    assert (numbers["profit_factor"].value, numbers["profit_factor"].reason) == (None, "no loss")
    assert numbers["net_pnl"].value == 0.0


def test_breakdown_adds_up_to_the_whole() -> None:
    trips = [trip_of(10.0, "slow"), trip_of(-5.0, "fast"), trip_of(3.0, "slow")]
    groups = breakdown(trips, lambda trip: trip.preset)
    assert list(groups) == ["fast", "slow"]
    assert [groups[name]["n_trades"].value for name in groups] == [1, 2]
    total = sum(float(groups[name]["net_pnl"].value or 0.0) for name in groups)
    assert total == pytest.approx(trade_numbers(trips)["net_pnl"].value)


def test_turnover_is_notional_over_mean_equity() -> None:
    assert turnover(5_000.0, 1_000.0).value == 5.0
    assert turnover(5_000.0, 0.0).value is None
