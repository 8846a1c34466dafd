"""validate sensitivity: variants that are files of their own, replayed; what is skipped, and what is made of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mei.data.config_id import config_id
from mei.model.errors import ConfigError
from mei.model.yaml12 import load_yaml, parse_yaml
from mei.workflows.validate.sensitivity import sensitivity_aggregate
from mei.workflows.validate.variants import DEFAULT_DELTAS, parse_perturbs, variants
from tests.validate.conftest import CONFIG, Bench

LINE = "validate sensitivity --config c.yaml --out-dir s --output s.json"
DOCUMENT = parse_yaml(CONFIG, "c.yaml")


@pytest.mark.parametrize("semantics", ["strict", "reference"])
def test_a_variant_is_a_replay_of_its_file(bench: Bench, semantics: str) -> None:
    flags = f"--semantics {semantics} --funding-db candles_dbs/funding_rates.db"
    perturbs = "--perturb global.trade.tp_atr_mult:-1.5 --perturb indicators.ema_slow_window:13"
    assert bench.run(f"{LINE} {flags} {perturbs}") == 0
    found = bench.json("s.json")
    assert found["version"] == "sensitivity_v1"
    pnls = []
    stems = ("variant__trade_tp_atr_mult__dm1p5", "variant__indicators_ema_slow_window__d13")
    for stem, row in zip(stems, found["perturbations"], strict=True):
        assert row["config_path"] == f"s/configs/{stem}.yaml"
        assert bench.run(f"replay --config s/configs/{stem}.yaml {flags} --output alone.json") == 0
        alone = (bench.folder / "alone.json").read_bytes()
        assert (bench.folder / f"s/replays/{stem}.json").read_bytes() == alone
        assert row["metrics"].items() <= bench.json("alone.json").items()
        assert row["config_id"] == config_id(load_yaml(Path(row["config_path"])))
        assert (
            "=== Backtest Summary ===" in (bench.folder / f"s/logs/{stem}.stderr.txt").read_text()
        )
        pnls.append(row["metrics"]["total_pnl"])
    assert pnls[0] != pnls[1]
    # The file as it is: replayed in strict, 0 in reference.
    assert bench.run(f"replay --config c.yaml {flags} --output alone.json") == 0
    base = bench.json("alone.json")
    is_strict = semantics == "strict"
    assert found["aggregate"]["baseline_total_pnl"] == (base["total_pnl"] if is_strict else 0.0)
    assert (found["base"]["replay_report_path"] is None) is (not is_strict)
    assert base["total_pnl"] not in pnls
    given = f"{LINE} {flags} {perturbs} --baseline-replay-report alone.json --out-dir t"
    assert bench.run(given) == 0
    assert not (bench.folder / "t/replays/baseline.json").exists()
    again = bench.json("s.json")
    assert again["base"]["total_pnl"] == base["total_pnl"]
    assert again["base"]["max_drawdown_pct"] == base["max_drawdown_pct"]
    ratio = (pnls[0] + pnls[1]) / 2.0 / abs(base["total_pnl"])
    assert again["aggregate"]["median_pnl_ratio_vs_baseline_abs"] == ratio


def test_the_usual_settings_one_at_a_time(bench: Bench) -> None:
    assert bench.run(LINE) == 0
    found = bench.json("s.json")
    rows = found["perturbations"]
    said = [
        (one["path"].rpartition(".")[2], one["delta"], one["base_value"], one["value"])
        for one in rows
    ]
    assert said == [
        ("ema_fast_window", -1, 8, 7),
        ("ema_fast_window", 1, 8, 9),
        ("ema_slow_window", -1, 21, 20),
        ("ema_slow_window", 1, 21, 22),
        ("adx_window", -1, 14, 13),
        ("adx_window", 1, 14, 15),
        ("bb_window", -1, 20, 19),
        ("bb_window", 1, 20, 21),
        ("min_adx", -1, 12.0, 11.0),
        ("min_adx", 1, 12.0, 13.0),
        ("sl_atr_mult", -0.1, 2, 1.9),
        ("sl_atr_mult", 0.1, 2, 2.1),
        ("tp_atr_mult", -0.1, 3.0, 2.9),
        ("tp_atr_mult", 0.1, 3.0, 3.1),
    ]
    assert [one["path"] for one in rows if one["is_default"]] == [
        *["indicators.adx_window"] * 2,
        *["indicators.bb_window"] * 2,
    ]
    assert [one["kept_by"] for one in rows[-2:]] == [["symbols.ETH"], ["symbols.ETH"]]
    assert "trade.tp_atr_mult +0.1 = 3.1 (symbols.ETH kept)" in bench.err
    written = load_yaml(bench.folder / "s/configs/variant__indicators_bb_window__d1.yaml")
    assert written["global"]["indicators"] == {**DOCUMENT["global"]["indicators"], "bb_window": 21}
    assert written["symbols"] == DOCUMENT["symbols"]
    aggregate = found["aggregate"]
    assert aggregate["variants_total"] == aggregate["variants_ran"] == 14
    assert (aggregate["variants_skipped"], aggregate["variants_failed"]) == (0, 0)


def test_reference_takes_the_file_as_it_is_written(bench: Bench) -> None:
    assert bench.run(f"{LINE} --semantics reference") == 0
    rows = bench.json("s.json")["perturbations"]
    skipped = [one["path"] for one in rows if one["skip"]]
    assert skipped == [*["indicators.adx_window"] * 2, *["indicators.bb_window"] * 2]
    assert rows[4]["skip_reason"].startswith("indicators.adx_window is not in the file")
    # A multiple that is written as a whole number is rounded like one: nothing changes, and it counts.
    assert [one["value"] for one in rows if one["path"] == "trade.sl_atr_mult"] == [2, 2]
    assert bench.json("s.json")["aggregate"]["variants_ran"] == 10


@pytest.mark.parametrize(
    ("path", "delta", "words"),
    [
        (
            "indicators.ema_fast_window",
            13.0,
            "ema_fast_window must be below ema_slow_window, would be 21 and 21",
        ),
        (
            "indicators.ema_slow_window",
            -14.0,
            "ema_fast_window must be below ema_slow_window, would be 8 and 7",
        ),
        ("indicators.ema_macro_window", -60.0, "ema_macro_window must be above 0, would be 0"),
        ("trade.sl_atr_mult", -2.0, "trade.sl_atr_mult must be above 0, would be 0.0"),
        ("trade.tp_atr_mult", -9.0, "trade.tp_atr_mult must be above 0, would be -6.0"),
        ("indicators.ema_fast_window", 0.4, "would stay 8: a whole number moves by whole numbers"),
        ("trade.entry_min_confidence", 1.0, "must be a number, is 'low'"),
        ("filters.enable_ranging_filter", 1.0, "must be a number, is false"),
    ],
)
def test_variants_that_cannot_be_meant_are_skipped(path: str, delta: float, words: str) -> None:
    (one,) = variants(DOCUMENT, {path: (delta,)}, "mei_alpha", is_strict=True)
    assert words in one.skip
    assert one.document == {}


def test_whole_numbers_are_rounded() -> None:
    moved = {"indicators.ema_fast_window": (1.6, -0.5, 0.5)}
    values = [one.value for one in variants(DOCUMENT, moved, "mei_alpha", is_strict=False)]
    assert values == [10, 8, 8]
    assert all(type(value) is int for value in values)
    assert parse_yaml(CONFIG, "c.yaml") == DOCUMENT


def test_what_strict_refuses_is_skipped_with_its_words(bench: Bench) -> None:
    line = f"{LINE} --perturb thresholds.entry.min_adx:-13,1"
    assert bench.run(line) == 0
    refused, ran = bench.json("s.json")["perturbations"]
    assert "global.thresholds.entry.min_adx must be" in refused["skip_reason"]
    assert refused["exit_code"] is None
    assert not (bench.folder / "s/configs/variant__thresholds_entry_min_adx__dm13.yaml").exists()
    assert ran["exit_code"] == 0


def test_a_check_in_which_nothing_ran_fails_and_says_why(bench: Bench) -> None:
    assert bench.run(f"{LINE} --perturb indicators.ema_fast_window:20") == 1
    assert "none of 1 was (ema_fast_window must be below" in bench.err.splitlines()[-1]
    assert bench.json("s.json")["aggregate"]["variants_ran"] == 0


def test_replays_that_take_too_long_are_killed(bench: Bench) -> None:
    assert bench.run("replay --config c.yaml --output base.json") == 0
    line = f"{LINE} --baseline-replay-report base.json --perturb trade.tp_atr_mult:0.5"
    assert bench.run(f"{line} --timeout-s 0.01") == 1
    (row,) = bench.json("s.json")["perturbations"]
    assert (row["exit_code"], row["skip"], row["metrics"]) == (124, False, None)
    assert row["error"] == "a replay must end within --timeout-s 0.01, did not"
    assert bench.json("s.json")["aggregate"]["variants_failed"] == 1
    report = bench.folder / "s/replays/variant__trade_tp_atr_mult__d0p5.json"
    assert not report.exists()
    assert bench.run(f"{line} --timeout-s 300") == 0
    in_time = bench.json(f"s/replays/{report.name}")
    report.unlink()
    assert bench.run(line) == 0
    in_process = bench.json(f"s/replays/{report.name}")
    for one in (in_time, in_process):
        del one["run"]["kernels"]  # another process looks at the sources again
    assert in_process == in_time


def test_replays_that_fail_are_recorded_wherever_they_ran(bench: Bench) -> None:
    """With a window longer than the candles no bar is traded."""
    assert bench.run("replay --config c.yaml --output base.json") == 0
    line = f"{LINE} --baseline-replay-report base.json --perturb indicators.bb_window:1000,1"
    errors = []
    for timeout in ("", "--timeout-s 300"):
        assert bench.run(f"{line} {timeout}") == 0
        failed, ran = bench.json("s.json")["perturbations"]
        assert (failed["exit_code"], ran["exit_code"]) == (1, 0)
        errors.append(failed["error"])
        assert bench.json("s.json")["aggregate"]["variants_failed"] == 1
    assert errors[0] == errors[1]
    assert errors[0].startswith("no bar is traded")


def test_momentum_breakout_has_settings_of_its_own(bench: Bench) -> None:
    (bench.folder / "c.yaml").write_text("momentum_breakout: {lookback: 20, stop_bps: 80}\n")
    line = f"{LINE} --strategy momentum_breakout"
    assert bench.run(line) == 2
    assert "--perturb must say what to vary" in bench.err
    perturbs = (
        "--perturb lookback:-5 --perturb momentum_breakout.stop_bps:0.5 --perturb max_hold_bars:3"
    )
    assert bench.run(f"{line} {perturbs}") == 0
    rows = bench.json("s.json")["perturbations"]
    assert [one["value"] for one in rows] == [15, 80.5, 3]
    assert [one["is_default"] for one in rows] == [False, False, True]
    written = load_yaml(Path(rows[0]["config_path"]))
    assert written == {"momentum_breakout": {"lookback": 15, "stop_bps": 80}}
    assert bench.run(f"{line} --perturb trade.sl_atr_mult:1") == 2
    assert "is no setting of momentum_breakout" in bench.err


def row(pnl: float | None, drawdown: float = 0.0) -> dict[str, Any]:
    """A variant that came to this; None = it was skipped."""
    skip = pnl is None
    metrics = None if skip else {"total_pnl": pnl, "max_drawdown_pct": drawdown}
    return {"skip": skip, "exit_code": None if skip else 0, "metrics": metrics}


def test_the_aggregate_by_hand() -> None:
    failed = {"skip": False, "exit_code": 124, "metrics": None}
    rows = [row(30.0, 0.1), row(None), row(-10.0, 0.4), failed, row(0.0, 0.2), row(50.0, 0.3)]
    assert sensitivity_aggregate(rows, -60.0) == {
        "variants_total": 6,
        "variants_ran": 4,
        "variants_skipped": 1,
        "variants_failed": 1,
        "positive_rate": 0.5,
        "median_total_pnl": 15.0,
        "min_total_pnl": -10.0,
        "max_total_pnl": 50.0,
        "median_drawdown_pct": 0.25,
        "baseline_total_pnl": -60.0,
        "median_pnl_ratio_vs_baseline_abs": 0.25,
        "sensitivity_metric_v1": 0.5,
    }
    assert sensitivity_aggregate(rows, 0.0)["median_pnl_ratio_vs_baseline_abs"] == 0.0
    assert set(sensitivity_aggregate([row(None)], 0.0).values()) == {0, 1}


def test_perturbs_are_read() -> None:
    assert parse_perturbs(()) == DEFAULT_DELTAS
    given = ("global.trade.leverage:-1,0.5", "trade.leverage: 0.5 , 2", "a.b:1e-1")
    assert parse_perturbs(given) == {"trade.leverage": (-1.0, 0.5, 2.0), "a.b": (0.1,)}


@pytest.mark.parametrize(
    "text", ["trade.leverage", "trade.leverage:", ":1", "a:1,", "a:x", "a:0", "a:nan", "../a:1"]
)
def test_perturbs_that_are_wrong_are_told(text: str) -> None:
    with pytest.raises(ConfigError, match="--perturb"):
        parse_perturbs((text,))


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (
            "--perturb trade.sl_atr_mul:1",
            2,
            "is no setting of mei_alpha, did you mean trade.sl_atr_mult?",
        ),
        ("--perturb trade.sl:1", 2, "is no setting of mei_alpha"),
        ("--perturb a:0", 2, "must be a number other than 0"),
        ("--timeout-s -1", 2, "--timeout-s"),
        ("--baseline-replay-report none.json", 1, "none.json must be the report of a replay"),
        ("--baseline-replay-report other.json", 1, "is of another file"),
        ("--baseline-replay-report c.yaml", 1, "c.yaml must be the report of a replay"),
        ("--output s/replays/baseline.json", 2, "must be a file of its own"),
        ("--output c.yaml", 2, "is that of --config"),
        ("--config none.yaml", 2, "none.yaml"),
        ("--interval 2h", 1, "candles_2h.db"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(bench: Bench, flags: str, code: int, words: str) -> None:
    other = '{"total_pnl": 1.0, "run": {"config": {"config_id": "abc"}}}'
    (bench.folder / "other.json").write_text(other)
    assert bench.run(f"{LINE} {flags}") == code
    assert words in bench.err.splitlines()[-1]
    assert not (bench.folder / "s.json").exists()


@pytest.mark.parametrize("left_out", ["--config c.yaml", "--out-dir s", "--output s.json"])
def test_what_is_needed_is_asked_for(bench: Bench, left_out: str) -> None:
    assert bench.run(LINE.replace(f" {left_out}", "")) == 2
    assert left_out.split()[0] in bench.err
