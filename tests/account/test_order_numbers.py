"""Prices and sizes: always what the exchange takes, never beyond the bound, never more than there is."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mei.workflows.account.order_numbers import limit_price, lots

MIDS = st.decimals("0.00001", "200000", places=7, allow_nan=False).filter(lambda mid: mid > 0)


@pytest.mark.parametrize(
    ("mid", "is_buy", "sz_decimals", "limit"),
    [
        ("97123.5", False, 5, "95182"),  # 95181.03
        ("97123.5", True, 5, "99065"),  # 99065.97: a decimal is left, but five digits are not
        ("123456.7", True, 5, "125925"),  # six digits, whole
        ("0.012345", False, 0, "0.012099"),  # 0.0120981: six decimals
        ("0.012345", True, 1, "0.01259"),  # 0.0125919: five decimals
        ("1.0204", False, 2, "1"),  # 0.999992 becomes 1.0000
        ("0.00001", False, 0, "0.000010"),  # the mid itself is the nearest price within the bound
        ("0.000001", True, 1, "0"),
    ],
)
def test_limits(mid: str, is_buy: bool, sz_decimals: int, limit: str) -> None:
    assert limit_price(Decimal(mid), is_buy, Decimal("0.02"), sz_decimals) == Decimal(limit)


@given(MIDS, st.booleans(), st.integers(0, 5), st.integers(1, 2000))
def test_a_limit_is_taken_and_within_the_bound(
    mid: Decimal, is_buy: bool, sz_decimals: int, bps: int
) -> None:
    slippage = Decimal(bps) / 10_000
    limit = limit_price(mid, is_buy, slippage, sz_decimals)
    exponent = limit.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    assert -exponent <= 6 - sz_decimals
    assert limit == limit.to_integral_value() or len(limit.normalize().as_tuple().digits) <= 5
    bound = mid * (1 + slippage if is_buy else 1 - slippage)
    # One step of the price at most is given away by rounding.
    step = max(Decimal(10) ** (sz_decimals - 6), bound / 10_000)
    if is_buy:
        assert bound - step <= limit <= bound
    else:
        assert bound <= limit <= bound + step


@pytest.mark.parametrize(
    ("qty", "sz_decimals", "size"),
    [
        (0.5, 5, "0.5"),
        (0.1 + 0.2, 5, "0.3"),
        (0.29999999, 4, "0.2999"),
        (1e-7, 5, "0"),
        (123456789.0, 0, "123456789"),
    ],
)
def test_lots(qty: float, sz_decimals: int, size: str) -> None:
    assert lots(qty, sz_decimals) == Decimal(size)


@given(st.floats(0, 1e9), st.integers(0, 6))
def test_lots_are_never_more_than_there_is(qty: float, sz_decimals: int) -> None:
    size = lots(qty, sz_decimals)
    assert 0 <= size <= Decimal(repr(qty))
    assert Decimal(repr(qty)) - size < Decimal(10) ** -sz_decimals
