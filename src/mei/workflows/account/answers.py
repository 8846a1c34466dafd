"""What Hyperliquid answers, checked and in our words. Field names are those of its API."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

from mei.model.errors import DataError
from mei.workflows.account.live_account import AccountState, LivePosition, OrderAnswer, OrderFate

_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?")
#: States of an order that something may come of still; every other one is final.
_OPEN_WORDS = ("open", "triggered")
_T = TypeVar("_T")


def account_state(answer: Any) -> AccountState:
    """The state in an answer to `clearinghouseState`. DataError when it is none."""
    return _read("clearinghouseState", answer, _account_state)


def size_decimals(answer: Any) -> dict[str, int]:
    """Decimals of a lot by symbol, from an answer to `meta`. DataError when it is none."""
    return _read("meta", answer, _size_decimals)


def mid_price(answer: Any, symbol: str) -> Decimal | None:
    """The mid price of `symbol` (quote per base) in an answer to `allMids`; None when it has none. DataError."""

    def found(content: Any) -> Decimal | None:
        mids = {str(name): value for name, value in content.items()}
        if symbol not in mids:
            return None
        price = Decimal(_text(mids[symbol]))
        return price if price > 0 else None

    return _read("allMids", answer, found)


def owner_of_signer(answer: Any) -> str | None:
    """The account that let the signer of a `userRole` question trade for it, lower case; None when there is none.

    DataError when it is no answer to that question.
    """

    def found(content: Any) -> str | None:
        role = content["role"]
        if not isinstance(role, str):
            raise TypeError
        return str(content["data"]["user"]).lower() if role == "agent" else None

    return _read("userRole", answer, found)


def resting_orders(answer: Any) -> list[str]:
    """The orders in an answer to `frontendOpenOrders` that can open a position, in words. DataError when it is none."""
    return _read("frontendOpenOrders", answer, _resting_orders)


def order_fate(answer: Any) -> OrderFate:
    """The fate in an answer to `orderStatus`. DataError when it is none."""
    return _read("orderStatus", answer, _order_fate)


def order_answer(answer: Any) -> OrderAnswer:
    """What an answer to an order says. One that cannot be understood is unknown, never taken for yes or no."""
    try:
        if answer["status"] == "err":
            return OrderAnswer("rejected", reason=_shown(answer["response"]))
        (said,) = answer["response"]["data"]["statuses"]
        if answer["status"] == "ok" and "error" in said:
            return OrderAnswer("rejected", reason=_shown(said["error"]))
        if answer["status"] == "ok" and "filled" in said:
            filled = said["filled"]
            return OrderAnswer("accepted", _number(filled["totalSz"]), _number(filled["avgPx"]))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        pass
    return OrderAnswer("unknown", reason=f"it answered {_shown(answer)}, which says nothing of it")


def _read(question: str, answer: Any, reader: Callable[[Any], _T]) -> _T:
    try:
        return reader(answer)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError):
        raise DataError(
            f"the exchange must answer {question} as its API says, answered {_shown(answer)}; look at the account "
            "in another way"
        ) from None


def _account_state(content: Any) -> AccountState:
    positions: dict[str, LivePosition] = {}
    for item in content["assetPositions"]:
        held = item["position"]
        signed_qty = _number(held["szi"])
        symbol = held["coin"]
        if not isinstance(symbol, str) or not symbol or symbol in positions:
            raise ValueError
        if signed_qty != 0:
            positions[symbol] = LivePosition(
                symbol=symbol,
                side="LONG" if signed_qty > 0 else "SHORT",
                qty=abs(signed_qty),
                entry_px=_number(held["entryPx"]),
                leverage=_number(held["leverage"]["value"]),
                margin_usd=_number(held["marginUsed"]),
            )
    return AccountState(
        balance_usd=_number(content["marginSummary"]["accountValue"]),
        positions=tuple(positions[symbol] for symbol in sorted(positions)),
        as_of_ms=_moment_ms(content["time"]),
    )


def _size_decimals(content: Any) -> dict[str, int]:
    decimals = {}
    for item in content["universe"]:
        value = item["szDecimals"]
        if not isinstance(value, int) or not 0 <= value <= 6:
            raise ValueError
        decimals[str(item["name"])] = value
    return decimals


def _resting_orders(content: Any) -> list[str]:
    lines = []
    for order in content:
        side = {"B": "buy", "A": "sell"}[order["side"]]
        line = f"{order['coin']} {side} {_text(order['sz'])} at {_text(order['limitPx'])}"
        if order["reduceOnly"] is not True:
            lines.append(line)
    return lines


def _order_fate(content: Any) -> OrderFate:
    if content["status"] == "unknownOid":
        return OrderFate("absent")
    if content["status"] != "order":
        raise ValueError
    outer = content["order"]
    word = outer["status"]
    if not isinstance(word, str):
        raise TypeError
    filled_qty = Decimal(_text(outer["order"]["origSz"])) - Decimal(_text(outer["order"]["sz"]))
    at_ms = _moment_ms(outer["statusTimestamp"])
    if word in _OPEN_WORDS:
        return OrderFate("open", float(filled_qty), at_ms, word)
    # Where an order was refused, what is left of it is all of it, whatever the size says.
    filled = 0.0 if word.lower().endswith("rejected") else float(filled_qty)
    return OrderFate("done", filled, at_ms, word)


def _number(value: Any) -> float:
    number = float(_text(value))
    if not math.isfinite(number):
        raise ValueError
    return number


def _text(value: Any) -> str:
    """A number as plain decimal text: what the API sends as text, and numbers of JSON."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise TypeError
    text = format(Decimal(repr(value)), "f") if isinstance(value, float) else str(value)
    if not _NUMBER.fullmatch(text):
        raise ValueError
    return text


def _moment_ms(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ValueError
    return value


def _shown(value: Any) -> str:
    """An answer as a message shows it: one line, not long."""
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:200] + " …"
