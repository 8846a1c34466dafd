"""The state a replay starts with: what is read, what is passed over, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mei.data.init_state import init_state_text, read_init_state
from mei.model.errors import DataError, OutputError
from mei.model.replay import InitPosition, InitState

LEAST = {
    "symbol": "BTC",
    "side": "Long",
    "size": 1,
    "entry_price": 100.5,
    "entry_atr": 2,
    "confidence": "HIGH",
    "leverage": 3.0,
    "margin_used": 33.5,
}


def content(*positions: dict[str, Any], **top: Any) -> dict[str, Any]:
    """A file of version 1 with these positions and changes."""
    usual = {"version": 1, "source": "paper", "exported_at_ms": 7, "balance": 500}
    return usual | {"positions": list(positions)} | top


def read(
    folder: Path,
    what: Any,
    symbols: tuple[str, ...] = ("BTC", "ETH"),
    *,
    strict: bool = False,
) -> tuple[InitState, list[str]]:
    """The state read from `what`, and what was told."""
    path = folder / "state.json"
    path.write_text(what if isinstance(what, str) else json.dumps(what))
    told: list[str] = []
    return read_init_state(str(path), symbols, told.append, strict=strict), told


def test_least_position_gets_defaults(tmp_path: Path) -> None:
    state, told = read(tmp_path, content(LEAST | {"unknown": 1}, more=2))
    assert told == []
    assert state == InitState(
        1, "paper", 7, 500.0, (InitPosition("BTC", 1, 1.0, 100.5, 2.0, 2, 3.0, 33.5),)
    )
    assert state.positions[0].trailing_px is None


def test_every_field_is_read_and_written(tmp_path: Path) -> None:
    full = LEAST | {
        "side": "SHORT",
        "confidence": "low",
        "trailing_sl": 99,
        "adds_count": 2,
        "tp1_taken": True,
        "open_time_ms": 11,
        "last_add_time_ms": 12,
        "entry_adx_threshold": 22.5,
    }
    state, _ = read(tmp_path, content(full))
    assert state.positions == (
        InitPosition("BTC", -1, 1.0, 100.5, 2.0, 0, 3.0, 33.5, 99.0, 2, True, 11, 12, 22.5),
    )
    assert read(tmp_path, init_state_text(state))[0] == state


def test_version_2_carries_its_continuation(tmp_path: Path) -> None:
    rest = {"as_of_ms": 5, "books": {"BTC": [1.5, None]}}
    state, _ = read(tmp_path, content(LEAST, version=2, continuation=rest))
    assert state.version == 2
    assert state.continuation == rest
    assert read(tmp_path, init_state_text(state))[0] == state


def test_positions_of_others_are_passed_over(tmp_path: Path) -> None:
    state, told = read(
        tmp_path,
        content(LEAST | {"symbol": "btc"}, LEAST | {"side": "flat"}, LEAST | {"symbol": "ETH"}),
    )
    assert [position.symbol for position in state.positions] == ["ETH"]
    assert told == [
        '[init-state] WARNING: position for "btc" skipped — not in candle data',
        '[init-state] WARNING: position for "BTC" skipped — unknown side "flat"',
    ]


def test_later_position_of_a_symbol_wins_and_unknown_confidence_is_medium(tmp_path: Path) -> None:
    state, _ = read(tmp_path, content(LEAST, LEAST | {"size": 9, "confidence": "sure"}))
    assert [(p.qty, p.confidence) for p in state.positions] == [(9.0, 1)]


SOUND = LEAST | {"trailing_sl": 99, "adds_count": 1, "open_time_ms": 5, "last_add_time_ms": 6}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": 0}, "size of .* must be above 0, is 0;"),
        ({"size": -1.5}, "size of .* must be above 0, is -1.5;"),
        ({"entry_price": 0.0}, "entry_price of .* must be above 0"),
        ({"entry_atr": -1}, "entry_atr of .* must be 0 or more"),
        ({"trailing_sl": 0}, "trailing_sl of .* must be null or above 0"),
        ({"leverage": 0}, "leverage of .* must be above 0"),
        ({"margin_used": -0.1}, "margin_used of .* must be 0 or more, is -0.1"),
        ({"entry_adx_threshold": -1}, "entry_adx_threshold of .* must be 0 or more"),
        ({"open_time_ms": -1}, "open_time_ms of .* must be 0 or more"),
        ({"last_add_time_ms": -1}, "last_add_time_ms of .* must be 0 or more"),
        ({"confidence": "sure"}, 'confidence of .* must be one of low, medium, high, is "sure"'),
        ({"side": "flat"}, 'side of .* must be one of long, short, is "flat"'),
        ({"symbol": "BTC"}, r"positions\[2\] \(BTC\) is of the symbol of positions\[0\]"),
    ],
)
def test_strict_refuses_what_nobody_can_hold(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    third = SOUND | {"symbol": "XRP"}
    positions = [SOUND, SOUND | {"symbol": "ETH"}, third | change]
    for version in ({}, {"version": 2, "continuation": {}}):
        read(tmp_path, content(*positions[:2], third, **version), strict=True)
        with pytest.raises(DataError, match=words) as caught:
            read(tmp_path, content(*positions, **version), strict=True)
        assert str(caught.value).startswith(str(tmp_path / "state.json"))
        assert "positions[2]" in str(caught.value)
    read(tmp_path, content(*positions))


def test_margin_and_atr_of_nothing_are_sound(tmp_path: Path) -> None:
    nothing = LEAST | {"entry_atr": 0, "margin_used": 0, "trailing_sl": None}
    assert len(read(tmp_path, content(nothing), strict=True)[0].positions) == 1


def test_numbers_that_json_has_not_are_no_state() -> None:
    with pytest.raises(OutputError, match="must hold finite numbers"):
        init_state_text(InitState(1, "paper", 7, float("inf")))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("{", "must be JSON"),
        ('{"balance": NaN}', "NaN is no number"),
        ("[]", "must be a JSON object"),
        ({"version": 1}, "must have the field source"),
        (content(version=3), "version 1 or 2, has version 3"),
        (content(version=2), "must have the field continuation"),
        (content(version=2, continuation=[]), "continuation .* must be an object"),
        (content(version=1.0), "version .* must be an integer"),
        (content(version=True), "version .* must be an integer"),
        (content(exported_at_ms=1 << 63), "exported_at_ms .* must be an integer"),
        (content(source=None), "source .* must be a string"),
        (content(balance=-1), "balance .* must be 0 or more, is -1"),
        (content(balance="1"), "balance .* must be a number"),
        (content(balance=True), "balance .* must be a number"),
        (content(positions={}), "positions .* must be a list"),
        (content("x"), r"positions\[0\] must be a JSON object"),  # type: ignore[arg-type]
        (content({"symbol": "BTC"}), r"positions\[0\] must have the field side"),
        (content(LEAST, LEAST | {"size": None}), r"size of positions\[1\] must be a number"),
        (content(LEAST | {"adds_count": -1}), "adds_count .* must be an integer from 0 on"),
        (content(LEAST | {"adds_count": 1.0}), "adds_count .* must be an integer from 0 on"),
        (content(LEAST | {"tp1_taken": 1}), "tp1_taken .* must be true or false"),
        (content(LEAST | {"open_time_ms": 0.5}), "open_time_ms .* must be an integer"),
        (content(LEAST | {"trailing_sl": "x"}), "trailing_sl .* must be a number or null"),
        (content(LEAST | {"symbol": "XRP", "side": 1}), "side .* must be a string"),
        (
            '{"balance": 1e999, "version": 1, "source": "", "exported_at_ms": 0, "positions": []}',
            "balance",
        ),
        ("[" * 100_000, "must be JSON"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(tmp_path: Path, what: Any, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        read(tmp_path, what)
    assert str(caught.value).startswith(str(tmp_path / "state.json"))


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_init_state(str(tmp_path / "absent.json"), (), lambda line: None, strict=True)
    (tmp_path / "b.json").write_bytes(b"\xff")
    with pytest.raises(DataError, match="UTF-8"):
        read_init_state(str(tmp_path / "b.json"), (), lambda line: None, strict=True)


def test_zero_balance_is_allowed(tmp_path: Path) -> None:
    assert read(tmp_path, content(balance=0))[0].balance_usd == 0.0
