"""deploy_validate: every rule of the specification broken once, all others kept."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from mei.data.strategy_yaml import refuse_faults
from mei.model.errors import ConfigError
from mei.model.yaml12 import dump_yaml, parse_yaml
from mei.workflows.deploy.deploy_validate import validate_deployable
from tests.deploy.desk import STRATEGY
from tests.tools.loading import exit_code, tool

FRACTIONS = ("trade.allocation_pct", "trade.max_total_margin_pct", "trade.min_atr_pct")
NOT_NEGATIVE = (
    "trade.leverage",
    "trade.sl_atr_mult",
    "trade.tp_atr_mult",
    "trade.slippage_bps",
    "trade.min_notional_usd",
    "thresholds.entry.min_adx",
)
COUNTS = (
    "trade.max_open_positions",
    *(f"indicators.{name}_window" for name in ("adx", "ema_fast", "ema_slow", "bb", "atr")),
)
NUMBERS = (*FRACTIONS, *NOT_NEGATIVE)
ALL = (*NUMBERS, *COUNTS, "trade.bump_to_min_notional")
GONE = object()


def with_value(path: str, value: Any) -> dict[str, Any]:
    """The file with one value of `global` set, or gone."""
    document: dict[str, Any] = copy.deepcopy(parse_yaml(STRATEGY, "x"))
    node = document["global"]
    *sections, name = path.split(".")
    for section in sections:
        node = node[section]
    if value is GONE:
        del node[name]
    else:
        node[name] = value
    return document


BROKEN = [
    *((path, value) for path in ALL for value in (GONE, None, "1", [1], {"a": 1})),
    *((path, value) for path in NUMBERS for value in (True, -0.001, float("nan"), float("inf"))),
    *((path, 1.001) for path in FRACTIONS),
    *((path, value) for path in COUNTS for value in (True, 0, -1, 14.0)),
    *(("trade.bump_to_min_notional", value) for value in (0, 1, 1.0)),
]


@pytest.mark.parametrize(("path", "value"), BROKEN)
def test_one_rule_broken_is_one_sentence(path: str, value: Any) -> None:
    (said,) = validate_deployable(with_value(path, value))
    assert said.startswith(f"global.{path} must be ")
    assert ("is absent" in said) is (value is GONE or value is None)


@pytest.mark.parametrize(("path", "value"), [one for one in BROKEN if one[1] not in (GONE, None)])
def test_a_strict_run_refuses_each_of_them_that_is_there(path: str, value: Any) -> None:
    """So that deploy_sweep, which asks what a strict run asks, need not ask for more."""
    with pytest.raises(ConfigError, match=f"global.{path} must be "):
        refuse_faults(with_value(path, value), "x", live=False)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        *((path, value) for path in FRACTIONS for value in (0, 1, 0.5)),
        *((path, value) for path in NOT_NEGATIVE for value in (0, 0.0, 10**6)),
        ("trade.max_open_positions", 1),
        ("indicators.adx_window", 1),
        ("trade.bump_to_min_notional", True),
    ],
)
def test_bounds_are_within(path: str, value: Any) -> None:
    assert validate_deployable(with_value(path, value)) == []


@pytest.mark.parametrize("fast", [50, 51])
def test_the_fast_average_must_be_faster(fast: int) -> None:
    (said,) = validate_deployable(with_value("indicators.ema_fast_window", fast))
    assert said.endswith(f"must be below global.indicators.ema_slow_window (50), was {fast}")


@pytest.mark.parametrize("path", ["trade", "indicators", "thresholds", "thresholds.entry"])
def test_sections_are_mappings(path: str) -> None:
    said = validate_deployable(with_value(path, 3))
    section = "thresholds.entry" if path.startswith("thresholds") else path
    assert said[0].startswith(f"global.{section} must be a mapping, was ")
    assert len(said) > 1


@pytest.mark.parametrize("document", [None, [], "x", {}, {"global": None}, {"global": [1]}])
def test_the_root_and_global_are_mappings(document: Any) -> None:
    (said,) = validate_deployable(document)
    assert "must be a mapping, was " in said


def test_the_tool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.yaml"

    def run(text: str) -> tuple[int, list[str]]:
        path.write_text(text)
        code = exit_code(tool("deploy_validate"), ["--config", str(path)])
        return code, capsys.readouterr().out.splitlines()

    assert run(STRATEGY) == (0, ["[ok] config validation passed"])
    broken = with_value("trade.leverage", -1)
    del broken["global"]["thresholds"]
    code, lines = run(dump_yaml(broken))
    assert code == 1
    assert [line[:34] for line in lines] == [
        "[invalid] global.thresholds.entry ",
        "[invalid] global.trade.leverage mu",
        "[invalid] global.thresholds.entry.",
    ]
    assert run("a: [")[0] == 1
    assert run("a: 1\na: 2\n") == (1, [f"[invalid] {path}:2: the key 'a' is there twice"])
    assert exit_code(tool("deploy_validate"), ["--config", str(tmp_path / "no")]) == 1
    assert "must be a strategy file, there is none" in capsys.readouterr().out
