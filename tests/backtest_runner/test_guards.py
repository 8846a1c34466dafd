"""What must not pass in silence: other ledgers, other presets, lost files, wrong settings, failed runs."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from mei.ledger.database import Ledger
from tests.backtest_runner.conftest import ROOT, Bench
from tests.survival.stack import ML, PARAMS, RUNNER, Stack

STRATEGY_YAML = [
    ("momentum_breakout:\n  regimes: 2\n", ("regimes", "a list", "2")),
    ("momentum_breakout:\n  notional_usd: -5\n", ("notional_usd", ">= 0", "-5")),
    ("momentum_breakout:\n  notional_usd: .nan\n", ("notional_usd", "finite number")),
    ("momentum_breakout:\n  allow_short: 1\n", ("allow_short", "true or false")),
    ("momentum_breakout:\n  lookback: 60.5\n", ("lookback", "whole number", "60.5")),
    ("momentum_breakout:\n  signal: trend\n", ("signal", "channel or zscore", "trend")),
    ("momentum_breakout:\n  regime: [1]\n", ("regime", "did you mean 'regimes'")),
    ("momentum_brekout:\n  regimes: [1]\n", ("momentum_brekout", "known strategies")),
    ("momentum_breakout:\n  regimes: [1]\n  regimes: [2]\n", ("regimes", "twice")),
    ("momentum_breakout: [1\n", ("strategy.yaml",)),
]


def config_with(bench: Bench, strategy_yaml: str | None) -> str:
    config = bench.folder / "config"
    shutil.copytree(ROOT / "config", config)
    (config / "strategy.yaml").unlink()
    if strategy_yaml is not None:
        (config / "strategy.yaml").write_text(strategy_yaml)
    return str(config)


@pytest.mark.parametrize(("text", "words"), STRATEGY_YAML)
def test_wrong_strategy_settings_are_named(bench: Bench, text: str, words: tuple[str, ...]) -> None:
    code, _, err = bench.loop(CONFIG_DIR=config_with(bench, text))
    assert code == 2, err
    assert len(err.splitlines()) == 1
    for word in words:
        assert word in err


def test_numbers_are_read_the_way_people_write_them(bench: Bench) -> None:
    text = "momentum_breakout:\n  notional_usd: 1e3\n"
    code, _, err = bench.loop(CONFIG_DIR=config_with(bench, text), TRAINING="off")
    assert code == 0, err
    settings = json.loads(bench.outputs()["run.json"])["settings"]
    assert settings["strategy_params"]["momentum_breakout"]["notional_usd"] == 1000.0


def test_an_absent_strategy_yaml_is_told(bench: Bench) -> None:
    code, out, _ = bench.loop(CONFIG_DIR=config_with(bench, None), TRAINING="off")
    assert code == 0
    assert "strategy.yaml is absent" in out


def test_symbols_may_be_written_as_in_urls(bench: Bench) -> None:
    assert bench.loop()[0] == 0
    first = bench.outputs()
    code, out, _ = bench.loop(SYMBOLS="BTC_USDT")
    assert code == 0
    assert "is finished" in out
    assert bench.outputs() == first
    assert bench.loop(SYMBOLS="BTC/USDT,BTC_USDT")[0] == 2
    assert bench.loop(SYMBOLS="BTC-PERP/USDT")[0] == 2


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TRAIN_LATENCY_SECONDS", "inf"),
        ("TRAIN_WINDOW_DAYS", "inf"),
        ("PROMOTION_MIN_DELTA", "nan"),
        ("INITIAL_CASH", "inf"),
        ("SEED", str(2**64)),
    ],
)
def test_numbers_beyond_sense_are_refused(bench: Bench, variable: str, value: str) -> None:
    code, _, err = bench.loop(**{variable: value})
    assert code == 2
    assert variable in err
    assert len(err.splitlines()) == 1


def test_lost_results_of_an_unfinished_run_can_be_given_up_with_rerun(bench: Bench) -> None:
    bench.loop(MAX_STEPS="0")
    whole = bench.outputs()
    run_id = json.loads(whole["run.json"])["run_id"]
    with sqlite3.connect(bench.folder / "shared" / "manifest.sqlite") as connection:
        connection.execute("UPDATE runs SET status = 'running', finished_at_ms = NULL")
    connection.close()
    shutil.rmtree(bench.folder / "results")
    code, _, err = bench.loop()
    assert code == 6
    assert "RERUN=1" in err
    code, out, err = bench.loop(RERUN="true")
    assert code == 0, err
    assert "attempt 2" in out
    again = bench.outputs()
    assert again["equity.csv"] == whole["equity.csv"]
    assert statuses(bench, run_id) == ["failed", "finished"]


def statuses(bench: Bench, run_id: str) -> list[str]:
    connection = sqlite3.connect(bench.folder / "shared" / "manifest.sqlite")
    rows = connection.execute(
        "SELECT status FROM runs WHERE run_id = ? ORDER BY attempt", (run_id,)
    ).fetchall()
    connection.close()
    return [row[0] for row in rows]


def test_a_run_that_fails_is_recorded_and_resumes_once_mended(bench: Bench) -> None:
    flag = bench.folder / "broken"
    flag.touch()
    path = bench.folder / "mine.py"
    path.write_text(
        "from pathlib import Path\nfrom mei.strategies.base import Strategy\n"
        "class Mine(Strategy):\n"
        "    def on_bar(self, bar, params):\n"
        f"        if bar.close_ms > 1704110400000 and Path({str(flag)!r}).exists():\n"
        "            raise RuntimeError('no luck')\n"
    )
    code, _, err = bench.loop(STRATEGIES=f"{path}:Mine", TRAINING="off")
    assert code == 9
    assert "no luck" in err
    connection = sqlite3.connect(bench.folder / "shared" / "manifest.sqlite")
    status, reason = connection.execute("SELECT status, outputs_json FROM runs").fetchone()
    connection.close()
    assert status == "failed"
    assert "no luck" in reason
    flag.unlink()
    code, out, _ = bench.loop()
    assert code == 0
    assert "resume" in out


def test_a_changed_helper_module_of_a_strategy_is_another_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(bench.folder))
    helper = bench.folder / "mei_test_helper.py"
    path = bench.folder / "mine.py"
    path.write_text(
        "import mei_test_helper\nfrom mei.strategies.base import Strategy\n"
        "class Mine(Strategy):\n    def on_bar(self, bar, params):\n        return None\n"
    )
    ids = set()
    for text in ("N = 50\n", "N = 20\n"):
        helper.write_text(text)
        assert bench.loop(STRATEGIES=f"{path}:Mine", TRAINING="off")[0] == 0
        ids.add(json.loads(bench.outputs()["run.json"])["run_id"])
    assert len(ids) == 2


def n_open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_embedded_services_leave_no_file_open(bench: Bench) -> None:
    bench.loop(TRAINING="off")
    before = n_open_files()
    for _ in range(3):
        assert bench.loop(RERUN="true")[0] == 0
    assert n_open_files() <= before + 2


def test_an_earlier_decision_log_does_not_stay_beside_another_run(bench: Bench) -> None:
    bench.loop(DECISION_LOG="true", TRAINING="off")
    assert "decisions.csv" in bench.outputs()
    bench.loop(DECISION_LOG="false")
    assert "decisions.csv" not in bench.outputs()


def services_of(bench: Bench, config: Path) -> Stack:
    settings = {
        "RESEARCH_DIR": os.environ["RESEARCH_DIR"],
        "END_TS": "2024-01-02",
        "CHUNK_ROWS": "120",
        "TRAIN_CRON_MINUTES": "120",
        "TRAIN_MIN_POINTS": "300",
        "CONFIG_DIR": str(config),
    }
    return Stack(bench.folder / "stack", settings)


def test_a_service_on_another_ledger_is_refused_at_the_start(bench: Bench) -> None:
    stack = services_of(bench, ROOT / "config")
    try:
        stack.start_services()
        other = bench.folder / "other.sqlite"
        Ledger.open(other).close()
        stack.settings["LEDGER_DB"] = str(other)
        stack.start(RUNNER)
        assert stack.finish() == 2
        assert "must be the same manifest for all" in stack.log_of(RUNNER)
    finally:
        stack.stop()


def test_presets_that_change_under_a_run_are_noticed(bench: Bench) -> None:
    config = bench.folder / "config"
    shutil.copytree(ROOT / "config", config)
    stack = services_of(bench, config)
    try:
        stack.start_services()
        stack.start(RUNNER)
        while "attempt 1: start" not in stack.log_of(RUNNER):
            assert not stack.is_dead(RUNNER), stack.log_of(RUNNER)
            time.sleep(0.02)
        # Not so far that it is over before its presets are others.
        stack.processes[RUNNER].send_signal(signal.SIGSTOP)
        stack.kill(PARAMS)
        schema = config / "strategy_schemas" / "momentum_breakout.yaml"
        schema.write_text(
            schema.read_text().replace("stop_bps: 40", "stop_bps: 45").replace("stop_bps: 50", "stop_bps: 55")
            .replace("stop_bps: 60", "stop_bps: 65")
        )  # fmt: skip
        stack.start(PARAMS)
        stack.processes[RUNNER].send_signal(signal.SIGCONT)
        assert stack.finish() == 7, stack.log_of(RUNNER)
        assert "presets must stay what they were" in stack.log_of(RUNNER)
        assert not stack.is_dead(ML)
    finally:
        stack.stop()


def test_the_sample_beside_other_candles_is_told(bench: Bench) -> None:
    folder = bench.folder / "mixed" / "BTC_USDT" / "1m"
    shutil.copytree(bench.research / "BTC_USDT" / "1m", folder)
    own = "timestamp,open,high,low,close,volume\n1703980800000,100,101,99,100,1\n"
    (folder / "own.csv").write_text(own)
    code, out, _ = bench.loop(RESEARCH_DIR=str(bench.folder / "mixed"), TRAINING="off")
    assert code == 0
    assert "holds the synthetic sample beside other candles" in out


def test_a_fixed_policy_must_name_a_preset(bench: Bench) -> None:
    code, out, err = bench.loop(POLICY="fixed:nope")
    assert code == 2
    assert "fast, medium, slow" in err
    assert "attempt" not in out


def test_the_window_must_not_be_empty(bench: Bench) -> None:
    code, _, err = bench.loop(START_TS="2024-01-02", END_TS="2024-01-02")
    assert code == 2
    assert "END_TS must be later than START_TS" in err


def test_a_resumed_run_says_from_where(bench: Bench) -> None:
    bench.loop(MAX_STEPS="3")
    with sqlite3.connect(bench.folder / "shared" / "manifest.sqlite") as connection:
        connection.execute("UPDATE runs SET status = 'running'")
    connection.close()
    code, out, _ = bench.loop()
    assert code == 0
    assert "resume after 2024-01-01T12:00:00Z" in out
