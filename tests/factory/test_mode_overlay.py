"""The overlay of a mode on a strategy file, and what a set of candles stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mei.model.errors import ConfigError, DataError
from mei.workflows.factory.candle_set import candle_files
from mei.workflows.factory.mode_overlay import mode_name, with_mode

BASE: dict[str, Any] = {
    "global": {"trade": {"leverage": 3.0, "sl_atr_mult": 2.0}},
    "symbols": {"ETH": {"trade": {"leverage": 4.0}}},
    "modes": {
        "primary": {"trade": {"leverage": 2.0}},
        "fallback": {"global": {"trade": {"leverage": 1.0}}, "symbols": {"BTC": {"trade": {}}}},
        "conservative": {"symbols": {"ETH": {"trade": {"sl_atr_mult": 1.0}}}},
        "flat": None,
    },
}


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("mode1", "primary"),
        ("mode2", "fallback"),
        ("mode3", "conservative"),
        ("safety", "conservative"),
        ("SAFE", "conservative"),
        ("halt", "flat"),
        (" pause ", "flat"),
        ("Primary", "primary"),
        ("own", "own"),
    ],
)
def test_aliases(given: str, name: str) -> None:
    assert mode_name(given) == name


def test_an_overlay_without_layers_is_of_global() -> None:
    found = with_mode(BASE, "mode1", "c.yaml")
    assert found["global"] == {"trade": {"leverage": 2.0, "sl_atr_mult": 2.0}}
    assert found["symbols"] == BASE["symbols"]
    assert found["modes"] == BASE["modes"]
    assert BASE["global"]["trade"]["leverage"] == 3.0


def test_an_overlay_of_both_layers() -> None:
    found = with_mode(BASE, "fallback", "c.yaml")
    assert found["global"]["trade"] == {"leverage": 1.0, "sl_atr_mult": 2.0}
    assert found["symbols"] == {"ETH": {"trade": {"leverage": 4.0}}, "BTC": {"trade": {}}}
    only = with_mode(BASE, "safe", "c.yaml")
    assert only["symbols"] == {"ETH": {"trade": {"leverage": 4.0, "sl_atr_mult": 1.0}}}
    assert only["global"] == BASE["global"]


def test_an_empty_overlay_changes_nothing() -> None:
    assert with_mode(BASE, "halt", "c.yaml") == BASE


@pytest.mark.parametrize(
    ("modes", "mode", "says"),
    [
        (None, "safe", "modes must have conservative (--strategy-mode safe), has none"),
        ({"a": {}, "b": {}}, "c", "modes must have c (--strategy-mode c), has a, b"),
        ([], "a", "modes must be a mapping"),
        ({"a": 3}, "a", "modes.a must be a mapping"),
        ({"a": {"global": {}, "trade": {}}}, "a", "has 'trade'"),
        ({"a": {"trade": {"leverage": "much"}}}, "a", "leverage must be a number"),
    ],
)
def test_modes_that_are_none(modes: Any, mode: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_mode(BASE | {"modes": modes}, mode, "c.yaml")
    assert says in str(caught.value)
    assert str(caught.value).startswith("c.yaml")


def test_a_folder_stands_for_its_candles(tmp_path: Path) -> None:
    for name in ("candles_1h.db", "candles_15m.db", "funding_rates.db", "candles_1h.db-wal"):
        (tmp_path / name).touch()
    (tmp_path / "candles_old.db").mkdir()
    folder = str(tmp_path)
    assert candle_files(folder) == f"{folder}/candles_15m.db,{folder}/candles_1h.db"
    assert candle_files(f" x.db , {folder},{folder}/candles_1h.db,") == (
        f"x.db,{folder}/candles_15m.db,{folder}/candles_1h.db"
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds none"):
        candle_files(f"{folder}/empty")
