"""The state a replay starts with: what is read, what is passed over, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mei.data.init_state import init_state_text, read_init_state
from mei.model.errors import DataError
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
    folder: Path, what: Any, symbols: tuple[str, ...] = ("BTC", "ETH")
) -> tuple[InitState, list[str]]:
    """The state read from `what`, and what was told."""
    path = folder / "state.json"
    path.write_text(what if isinstance(what, str) else json.dumps(what))
    told: list[str] = []
    return read_init_state(str(path), symbols, told.append), told


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
        read_init_state(str(tmp_path / "absent.json"), (), lambda line: None)
    (tmp_path / "b.json").write_bytes(b"\xff")
    with pytest.raises(DataError, match="UTF-8"):
        read_init_state(str(tmp_path / "b.json"), (), lambda line: None)


def test_zero_balance_is_allowed(tmp_path: Path) -> None:
    assert read(tmp_path, content(balance=0))[0].balance_usd == 0.0
