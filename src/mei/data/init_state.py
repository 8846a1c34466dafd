"""The state a replay starts with, as JSON: balance and open positions (version 1), and all the rest (version 2)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from mei.model.errors import DataError, OutputError
from mei.model.replay import CONFIDENCES, InitPosition, InitState

_VERSIONS = (1, 2)
_SIDES = {"long": 1, "short": -1}
_WORD = {1: "long", -1: "short"}
_MEDIUM = 1
_REQUIRED = object()
_INT64 = 1 << 63

_Kind = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64


def _is_count(value: Any) -> bool:
    return _is_whole(value) and 0 <= value < 1 << 32


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and _is_finite(value)


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def _is_number_or_null(value: Any) -> bool:
    return value is None or _is_number(value)


def _is_above_zero(value: Any) -> bool:
    return bool(value > 0)


def _is_not_negative(value: Any) -> bool:
    return bool(value >= 0)


def _is_above_zero_or_null(value: Any) -> bool:
    return value is None or bool(value > 0)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


#: Key -> (what it must be, in words and as a test; what it is when it is absent).
_TOP: dict[str, tuple[str, _Kind, Any]] = {
    "version": ("an integer", _is_whole, _REQUIRED),
    "source": ("a string", _is_text, _REQUIRED),
    "exported_at_ms": ("an integer (epoch ms)", _is_whole, _REQUIRED),
    "balance": ("a number", _is_number, _REQUIRED),
    "positions": ("a list", _is_list, _REQUIRED),
}
_POSITION: dict[str, tuple[str, _Kind, Any]] = {
    "symbol": ("a string", _is_text, _REQUIRED),
    "side": ("a string", _is_text, _REQUIRED),
    "size": ("a number", _is_number, _REQUIRED),
    "entry_price": ("a number", _is_number, _REQUIRED),
    "entry_atr": ("a number", _is_number, _REQUIRED),
    "trailing_sl": ("a number or null", _is_number_or_null, None),
    "confidence": ("a string", _is_text, _REQUIRED),
    "leverage": ("a number", _is_number, _REQUIRED),
    "margin_used": ("a number", _is_number, _REQUIRED),
    "adds_count": ("an integer from 0 on", _is_count, 0),
    "tp1_taken": ("true or false", _is_flag, False),
    "open_time_ms": ("an integer (epoch ms)", _is_whole, 0),
    "last_add_time_ms": ("an integer (epoch ms)", _is_whole, 0),
    "entry_adx_threshold": ("a number", _is_number, 0.0),
}
#: What strict asks of the values of a position besides: in words and as a test.
_STRICT_POSITION: dict[str, tuple[str, _Kind]] = {
    "side": (f"one of {', '.join(_SIDES)}", lambda value: value.lower() in _SIDES),
    "size": ("above 0", _is_above_zero),
    "entry_price": ("above 0", _is_above_zero),
    "entry_atr": ("0 or more", _is_not_negative),
    "trailing_sl": ("null or above 0", _is_above_zero_or_null),
    "confidence": (
        f"one of {', '.join(CONFIDENCES)}",
        lambda value: value.lower() in CONFIDENCES,
    ),
    "leverage": ("above 0", _is_above_zero),
    "margin_used": ("0 or more", _is_not_negative),
    "open_time_ms": ("0 or more", _is_not_negative),
    "last_add_time_ms": ("0 or more", _is_not_negative),
    "entry_adx_threshold": ("0 or more", _is_not_negative),
}


def read_init_state(
    path: str, symbols: Collection[str], tell: Callable[[str], None], *, strict: bool
) -> InitState:
    """The state in file `path`. `tell` hears which positions are passed over: of other symbols, of unknown sides.

    symbols: those that can be traded. strict: refuse positions that nobody can hold, sides and confidences without a
    meaning, and two positions of a symbol; otherwise the side is passed over, the confidence counts as medium and the
    later position holds. DataError, naming the file, for one that cannot be read or is not as it must be.
    """
    content = _parse(path)
    top = _checked(content, _TOP, path, "the file")
    positions = [
        _checked(item, _POSITION, path, f"positions[{number}]")
        for number, item in enumerate(top["positions"])
    ]
    if top["version"] not in _VERSIONS:
        raise DataError(
            f"{path}: an init-state must have version 1 or 2, has version {top['version']}; export it again"
        )
    continuation = None
    if top["version"] == 2:
        rest = {"continuation": ("an object", _is_object, _REQUIRED)}
        continuation = _checked(content, rest, path, "an init-state of version 2")["continuation"]
    if top["balance"] < 0:
        raise DataError(
            f"{path}: balance of an init-state must be 0 or more, is {top['balance']}; correct it"
        )
    if strict:
        _refuse_impossible(positions, path)
    kept: dict[str, InitPosition] = {}
    for item in positions:
        position = _position(item, symbols, tell)
        if position is not None:
            kept[position.symbol] = position
    return InitState(
        version=top["version"],
        source=top["source"],
        exported_at_ms=top["exported_at_ms"],
        balance_usd=float(top["balance"]),
        positions=tuple(kept.values()),
        continuation=continuation,
        path=path,
    )


def _refuse_impossible(positions: Sequence[Mapping[str, Any]], path: str) -> None:
    first: dict[str, int] = {}
    for number, item in enumerate(positions):
        where = f"positions[{number}] ({item['symbol']})"
        for key, (words, is_right) in _STRICT_POSITION.items():
            if not is_right(item[key]):
                raise DataError(
                    f"{path}: {key} of {where} must be {words}, is {_shown(item[key])}; correct it"
                )
        before = first.setdefault(item["symbol"], number)
        if before != number:
            raise DataError(
                f"{path}: a symbol must have one position, {where} is of the symbol of positions[{before}]; "
                "leave one of them"
            )


def init_state_text(state: InitState) -> str:
    """What `read_init_state` reads back: JSON, the keys in the order of the specification.

    Raises OutputError when it holds a number that is not finite, which JSON has not.
    """
    content: dict[str, Any] = {
        "version": state.version,
        "source": state.source,
        "exported_at_ms": state.exported_at_ms,
        "balance": state.balance_usd,
        "positions": [position_object(position) for position in state.positions],
    }
    if state.continuation is not None:
        content["continuation"] = state.continuation
    try:
        return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except ValueError as error:
        raise OutputError(
            f"an init-state must hold finite numbers, this one does not ({error}): check candles and order sizes"
        ) from error


def _parse(path: str) -> Any:
    try:
        text = Path(path).read_bytes().decode()
    except OSError as error:
        raise DataError(
            f"{path}: an init-state must be a readable file, was not ({error.strerror}); check the path"
        ) from None
    except UnicodeDecodeError:
        raise DataError(
            f"{path}: an init-state must be UTF-8 text, is not; export it again"
        ) from None
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{path}: an init-state must be JSON, is not ({error}); export it again"
        ) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _checked(
    content: Any, keys: Mapping[str, tuple[str, _Kind, Any]], path: str, where: str
) -> dict[str, Any]:
    """The values of `keys`, defaults filled in; other keys are ignored."""
    if not isinstance(content, dict):
        raise DataError(f"{path}: {where} must be a JSON object, is {_shown(content)}")
    values = {}
    for key, (words, is_right, default) in keys.items():
        if key not in content and default is _REQUIRED:
            raise DataError(f"{path}: {where} must have the field {key} ({words}), it is missing")
        value = content.get(key, default)
        if not is_right(value):
            raise DataError(f"{path}: {key} of {where} must be {words}, is {_shown(value)}")
        values[key] = value
    return values


def _shown(value: Any) -> str:
    return json.dumps(value)[:60]


def _position(
    item: Mapping[str, Any], symbols: Collection[str], tell: Callable[[str], None]
) -> InitPosition | None:
    symbol = item["symbol"]
    if symbol not in symbols:
        tell(f'[init-state] WARNING: position for "{symbol}" skipped — not in candle data')
        return None
    side = _SIDES.get(item["side"].lower())
    if side is None:
        tell(
            f'[init-state] WARNING: position for "{symbol}" skipped — unknown side "{item["side"]}"'
        )
        return None
    word = item["confidence"].lower()
    trailing = item["trailing_sl"]
    return InitPosition(
        symbol=symbol,
        side=side,
        qty=float(item["size"]),
        entry_px=float(item["entry_price"]),
        entry_atr=float(item["entry_atr"]),
        confidence=CONFIDENCES.index(word) if word in CONFIDENCES else _MEDIUM,
        leverage=float(item["leverage"]),
        margin_usd=float(item["margin_used"]),
        trailing_px=None if trailing is None else float(trailing),
        adds_count=item["adds_count"],
        tp1_taken=item["tp1_taken"],
        opened_ms=item["open_time_ms"],
        last_add_ms=item["last_add_time_ms"],
        entry_adx_threshold=float(item["entry_adx_threshold"]),
    )


def position_object(position: InitPosition) -> dict[str, Any]:
    """A position as an init-state has it, the keys in the order of the specification."""
    return {
        "symbol": position.symbol,
        "side": _WORD[position.side],
        "size": position.qty,
        "entry_price": position.entry_px,
        "entry_atr": position.entry_atr,
        "trailing_sl": position.trailing_px,
        "confidence": CONFIDENCES[position.confidence],
        "leverage": position.leverage,
        "margin_used": position.margin_usd,
        "adds_count": position.adds_count,
        "tp1_taken": position.tp1_taken,
        "open_time_ms": position.opened_ms,
        "last_add_time_ms": position.last_add_ms,
        "entry_adx_threshold": position.entry_adx_threshold,
    }
