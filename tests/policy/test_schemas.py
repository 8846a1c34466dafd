"""Schemas: YAML as people mean it, bounds, presets, and every mistake as one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from mei.model.errors import ConfigError, RequestError
from mei.model.yaml12 import load_yaml
from mei.policy.schemas import PACKAGED_SCHEMAS, load_schema, load_schemas

ROOT = Path(__file__).parents[2]

GOOD = """\
strategy: toy
parameters:
  n: {type: int, min: 1, max: 1e2, unit: bars}
  x_bps: {type: float, min: -.5, max: 5}
presets:
  zeta: {n: 3, x_bps: 1e-3}
  alpha: {n: 4, x_bps: 2}
"""


def _write(folder: Path, text: str, name: str = "toy.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_momentum_breakout_is_as_designed() -> None:
    schema = load_schemas()["momentum_breakout"]
    bounds = {one.name: (one.type, one.minimum, one.maximum) for one in schema.parameters.values()}
    assert bounds == {
        "lookback": ("int", 10, 500),
        "breakout_bps": ("float", 0, 100),
        "stop_bps": ("float", 10, 500),
        "take_profit_bps": ("float", 10, 1000),
        "max_hold_bars": ("int", 5, 2880),
    }
    assert {name: tuple(one.values()) for name, one in schema.presets.items()} == {
        "fast": (30, 0, 40, 80, 120),
        "medium": (60, 0, 50, 100, 240),
        "slow": (120, 0, 60, 120, 360),
    }
    assert list(schema.presets) == ["fast", "medium", "slow"]
    assert schema.instruments is None


def test_the_packaged_schemas_are_those_of_config() -> None:
    ours = {path.name: path.read_bytes() for path in PACKAGED_SCHEMAS.glob("*.yaml")}
    folder = ROOT / "config" / "strategy_schemas"
    assert ours == {path.name: path.read_bytes() for path in folder.glob("*.yaml")}


def test_presets_keep_the_order_and_types_of_the_schema(tmp_path: Path) -> None:
    schema = load_schema(_write(tmp_path, GOOD))
    assert list(schema.presets) == ["zeta", "alpha"]
    assert schema.presets["zeta"] == {"n": 3, "x_bps": 0.001}
    assert type(schema.presets["zeta"]["n"]) is int
    assert type(schema.presets["alpha"]["x_bps"]) is float


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1E5", 1e5), ("-.5", -0.5), ("+1.", 1.0), ("0o10", 8), ("0x1F", 31),
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("off", "off"), ("y", "y"), ("true", True),
        ("False", False), ("12:30", "12:30"), ("2025-01-01", "2025-01-01"), ("1_000", "1_000"),
        ("~", None), ("null", None), ("", None), ("nan", "nan"), ("-.inf", float("-inf")), ("'1'", "1"),
        ("<<", "<<"),
    ],
)  # fmt: skip
def test_scalars_have_the_types_of_yaml_1_2(tmp_path: Path, text: str, value: object) -> None:
    found = load_yaml(_write(tmp_path, f"a: {text}\n"))["a"]
    assert (found, type(found)) == (value, type(value))


def _swap(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_swap("  zeta:", "  alpha:"), "toy.yaml:7: the key 'alpha' is there twice"),
        (_swap("presets:", "preset:"), "no key 'preset'; did you mean 'presets'?"),
        (_swap("unit: bars", "units: bars"), "parameters.n: no key 'units'; did you mean 'unit'?"),
        (_swap("strategy: toy", "strategy: other"), "strategy must be 'toy'"),
        (
            _swap("type: int", "type: whole"),
            "parameters.n.type must be int or float, found 'whole'",
        ),
        (_swap("max: 1e2", "max: lots"), "parameters.n.max must be a number, found 'lots'"),
        (_swap("max: 1e2", "max: yes"), "parameters.n.max must be a number, found 'yes'"),
        (_swap("max: 1e2", "max: .nan"), "parameters.n.max must be a number"),
        (_swap("min: 1,", "min: 101,"), "parameters.n: min 101 must not be above max 100"),
        (_swap("{n: 3,", "{n: 3.5,"), "presets.zeta: n must be a whole number of bars, found 3.5"),
        (_swap("{n: 3,", "{n: 101,"), "presets.zeta: n must be 1 to 100 bars, found 101"),
        (_swap("{n: 3,", "{n: true,"), "presets.zeta: n must be a number, found True"),
        (_swap("{n: 3,", "{n: 3, m: 1,"), "presets.zeta: no parameter 'm'"),
        (_swap("{n: 3, ", "{"), "presets.zeta: n missing"),
        (_swap("  zeta:", "  Zeta!:"), "presets.Zeta!: a preset's name must match"),
        (GOOD.split("presets")[0], "presets must be a mapping"),
        (GOOD + "instruments: BTC\n", "instruments must be a list"),
        (GOOD + "instruments: [\n", "toy.yaml:9"),
        ("", "must be a mapping"),
        (_swap("strategy: toy", "strategy: !!python/object:os.system toy"), "toy.yaml:1"),
    ],
)
def test_each_mistake_is_one_line_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_schemas(_write(tmp_path, text).parent)
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_and_a_file_that_is_not_text_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no strategy schema"):
        load_schemas(tmp_path)
    (tmp_path / "toy.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_schemas(tmp_path)


def test_instruments_are_read_in_either_spelling(tmp_path: Path) -> None:
    schema = load_schema(_write(tmp_path, GOOD + "instruments: [BTC/USDT, ETH_USDT]\n"))
    assert schema.instruments == ("BTC/USDT", "ETH/USDT")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 4.99, 500.01, "60", None, True])
def test_a_parameter_out_of_bounds_is_a_request_error_that_names_them(value: object) -> None:
    schema = load_schemas()["momentum_breakout"]
    params = {**schema.presets["fast"], "stop_bps": value}
    with pytest.raises(RequestError, match="stop_bps must be"):
        schema.checked(params, "preset mine", RequestError)


def test_bounds_are_inclusive() -> None:
    schema = load_schemas()["momentum_breakout"]
    params = {**schema.presets["fast"], "stop_bps": 10, "lookback": 500.0}
    checked = schema.checked(params, "preset mine")
    assert (checked["stop_bps"], checked["lookback"]) == (10.0, 500)
