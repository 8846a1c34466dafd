"""A run from candles to a choice: what is written, the same numbers as of the single commands, going on."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import astuple
from pathlib import Path
from typing import Any

import pytest

from mei.cli import main
from mei.workflows.factory.request import PROFILES, Profile
from tests.factory.conftest import Bench, furnish
from tests.factory.market import N_HOURS, N_ROWS, NOW_MS, SYMBOLS, contents, factory_line
from tests.tools.loading import tool
from tests.workflows.databases import HOUR_MS, START_MS

FAST = ("--no-deploy", "--no-sensitivity-checks", "--no-monte-carlo")


@pytest.fixture(scope="module")
def finished(market: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run `full` of everything but the deployment; not to be written to."""
    folder = furnish(market, tmp_path_factory.mktemp("finished"))
    (folder / "majors.txt").write_text("BTC\nETH\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        line = factory_line("full", "--no-deploy", "--symbol-set", "majors=majors.txt")
        assert main.run(line) == 0
    return folder


@pytest.fixture
def full(finished: Path, bench: Bench) -> Path:
    """The run's folder, as a copy in the working directory."""
    shutil.copytree(finished / "artifacts", bench.folder / "artifacts")
    shutil.copy(finished / "majors.txt", bench.folder)
    return bench.folder / "artifacts/runs/full"


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_what_a_run_leaves(full: Path) -> None:
    about = read(full / "run_metadata.json")
    assert about["run_id"] == "full"
    assert about["generated_at_ms"] == NOW_MS
    assert about["run_date_utc"] == "2025-06-21"
    assert about["args"]["profile"] == "smoke"
    assert about["args"]["checks"]["symbol_sets"] == ["majors=majors.txt"]
    report = read(full / "reports/report.json")
    assert len(report["items"]) == 6
    assert report["sweep"]["n_rows"] == report["sweep"]["n_trials"] == N_ROWS
    for item in report["items"]:
        assert (full / item["config_path"]).is_file()
        assert item["cross_universe"]["majors"]["trades"] > 0.0
        assert item["monte_carlo"]["methods"]["bootstrap"]["final_balance"]["n"] == 2000
        assert item["sensitivity"]["aggregate"]["variants_ran"] == 14
    selection = read(full / "reports/selection.json")
    assert selection["version"] == "factory_cycle_selection_v1"
    assert len(selection["candidates"]) == 2
    best = max(report["items"], key=lambda item: item["score_v1"])
    assert selection["selected"]["config_id"] == best["config_id"]
    assert selection["selected"]["total_pnl"] < max(item["total_pnl"] for item in report["items"])
    overview = (full / "reports/report.md").read_text()
    assert f"`{best['config_id'][:12]}`" in overview
    assert f"## {best['config_id'][:12]}" in (full / "reports/validation_report.md").read_text()


def test_score_of_the_files_it_names(full: Path) -> None:
    """The score again, from the summaries that the validations wrote."""
    for item in read(full / "reports/report.json")["items"]:
        folder = full / "validation" / item["config_id"][:12]
        forward = read(folder / "walk_forward/summary.json")["aggregate"]
        stress = read(folder / "slippage_stress/summary.json")["levels"]
        levels = [level["metrics"]["total_pnl"] for level in stress]
        assert [level["slippage_bps"] for level in stress] == [10.0, 20.0, 30.0]
        score = (
            sorted(forward["oos_daily_returns"])[1]
            - 2.0 * forward["max_oos_drawdown_pct"]
            - 0.5 * (levels[0] - levels[1]) / 10_000.0
        )
        assert item["total_trades"] > 30
        assert item["score_v1"] == pytest.approx(score, abs=1e-12)


def test_numbers_are_those_of_the_single_commands(bench: Bench, full: Path) -> None:
    item = read(full / "reports/report.json")["items"][0]
    short = item["config_id"][:12]
    config = f"artifacts/runs/full/configs/{short}.yaml"
    common = (
        "--config",
        config,
        "--candles-db",
        "candles_dbs/candles_1h.db",
        "--funding-db",
        "candles_dbs/funding_rates.db",
    )
    window = ("--start-ts", str(START_MS), "--end-ts", str(START_MS + N_HOURS * HOUR_MS))
    replay = ("replay", *common, *window, "--lookback", "100", "--equity-curve")
    assert bench.run(*replay, "--output", "r.json", "--export-trades", "t.csv") == 0
    of_run = full / "replays" / short
    assert own(bench.folder / "r.json") == own(of_run / "replay.json")
    assert (bench.folder / "t.csv").read_bytes() == (of_run / "trades.csv").read_bytes()
    checks = full / "validation" / short
    assert bench.run("validate", "walk-forward", *common, "--out-dir", "wf") == 0
    assert bench.json("wf/summary.json")["aggregate"] == item["walk_forward"]["aggregate"]
    assert bench.run("validate", "slippage-stress", *common, "--out-dir", "ss") == 0
    for name in ("20bps/replay.json", "10bps/replay.json"):
        assert own(bench.folder / "ss" / name) == own(checks / "slippage_stress" / name)
    out = ("--out-dir", "se", "--output", "se.json")
    assert bench.run("validate", "sensitivity", *common, *out) == 0
    assert bench.json("se.json")["aggregate"] == item["sensitivity"]["aggregate"]
    trades = ("--trades-csv", "t.csv", "--initial-balance", "10000")
    assert bench.run("validate", "monte-carlo", *trades, "--output", "mc.json") == 0
    assert bench.json("mc.json")["methods"] == item["monte_carlo"]["methods"]
    rows = "artifacts/runs/full/sweeps/sweep_results.jsonl"
    made = ["--sweep-results", rows, "--base-config", "c.yaml", "--sort-by", "dd", "-o", "g.yaml"]
    assert tool("generate_config").main(made) == 0
    assert without_comments(bench.folder / "g.yaml") == without_comments(bench.folder / config)


def own(path: Path) -> Any:
    """A report without the checkout that others may commit to meanwhile."""
    report = read(path)
    report["run"].pop("git")
    return report


def without_comments(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def test_deflated_sharpe_ratio_is_that_of_the_sweep(full: Path) -> None:
    best = full / "sweeps/sweep_results.jsonl.best"
    by_row = {item["sweep_config_id"]: item for item in read(full / "reports/report.json")["items"]}
    n_same = 0
    for path in best.glob("0*.json"):
        swept = read(path)
        item = by_row.get(swept["config_id"])
        if item is not None:
            n_same += 1
            for name in ("probabilistic_sharpe_ratio", "deflated_sharpe_ratio"):
                assert item[name] == swept[name]
    assert n_same == 3


def test_a_finished_run_goes_on_to_the_same(bench: Bench, full: Path) -> None:
    before = contents(full)
    sets = ("--symbol-set", "majors=majors.txt")
    assert bench.factory("full", "--no-deploy", *sets, "--resume") == 0
    assert contents(full) == before
    assert "[sweep]" not in bench.err
    assert "WARNING" in bench.err
    assert "DOES NOT SURVIVE 12 TRIALS" in bench.err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--seed", "7"], "seed was 42, is 7"),
        (["--profile", "daily"], "profile was 'smoke', is 'daily'"),
        (["--no-walk-forward"], "checks was"),
        (["--min-trades", "10"], "min_trades was 20, is 10"),
        (["--require-dsr"], "require_dsr was False, is True"),
        (["--strategy-mode", "safe"], "strategy_mode was None, is 'safe'"),
    ],
)
def test_going_on_with_other_arguments(
    bench: Bench, full: Path, more: list[str], says: str
) -> None:
    before = contents(full)
    sets = ("--symbol-set", "majors=majors.txt")
    assert bench.factory("full", "--no-deploy", *sets, "--resume", *more) == 2
    assert says in bench.err
    assert contents(full) == before


def test_a_run_that_is_there_is_not_begun_again(bench: Bench, full: Path) -> None:
    before = contents(full)
    assert bench.factory("full", "--no-deploy") == 2
    assert "give --resume" in bench.err
    assert contents(full) == before


@pytest.mark.slow
def test_going_on_uses_the_files_of_the_beginning(bench: Bench) -> None:
    """Edited since, even removed: the copies count."""
    more = ("--no-walk-forward", "--no-slippage-stress", "--symbol-set", "majors=majors.txt")
    (bench.folder / "majors.txt").write_text("BTC\nETH\n")
    assert bench.factory("kept", *FAST, *more) == 0
    folder = bench.folder / "artifacts/runs/kept"
    before = contents(folder)
    bench.back_to("kept", "data_checks")
    edited = (bench.folder / "c.yaml").read_text().replace("leverage: 3.0", "leverage: 2.0")
    (bench.folder / "c.yaml").write_text(edited)
    (bench.folder / "spec.yaml").write_text("axes: []\n")
    (bench.folder / "majors.txt").unlink()
    assert bench.factory("kept", *FAST, *more, "--resume") == 0
    assert contents(folder) == before
    for name in ("c.yaml", "spec.yaml", "majors.txt"):
        assert f"{name} is not as it was when kept began" in bench.err


def test_status(bench: Bench, full: Path) -> None:
    assert bench.run("factory", "status") == 0
    chosen = read(full / "reports/selection.json")["selected"]["config_id"][:12]
    assert bench.out == f"full  2025-06-21T00:01:00.000Z  smoke  selected {chosen}\n"
    assert bench.run("factory", "status", "--run-id", "full") == 0
    assert bench.out.splitlines()[1] == "  2025-06-21T00:01:00.000Z  metadata"
    assert bench.run("factory", "status", "--run-id", "other") == 1
    assert "there are full" in bench.err
    (bench.folder / "artifacts/runs/broken").mkdir()
    (bench.folder / "artifacts/runs/broken/state.json").write_text("{")
    assert bench.run("factory", "status") == 0
    assert bench.out.startswith("full  ")
    assert "broken/state.json must be the state of a run" in bench.err


@pytest.mark.slow
def test_nothing_survives(bench: Bench) -> None:
    assert bench.factory("none", *FAST, "--require-dsr", "--min-symbols-traded", "7") == 2
    assert "none of 6 is" in bench.err
    selection = bench.json("artifacts/runs/none/reports/selection.json")
    assert selection["selected"] is None
    assert selection["candidates"] == []
    assert len(selection["rejected"]) == 6
    for one in selection["rejected"]:
        assert one["reject_reasons"][0].startswith("concentration: symbols_traded 6 <")
        assert one["reject_reasons"][1].startswith("trials: the deflated Sharpe ratio must be 0.95")
        assert f"{one['config_id'][:12]}: {'; '.join(one['reject_reasons'])}" in bench.err
    assert (
        bench.factory("none", *FAST, "--require-dsr", "--min-symbols-traded", "7", "--resume") == 2
    )


@pytest.mark.slow
def test_a_loss_is_chosen_loudly_or_not_at_all(bench: Bench) -> None:
    (bench.folder / "spec.yaml").write_text(
        "axes:\n- {path: trade.trailing_start_atr, values: [1.0]}\n- {path: trade.tp_atr_mult, values: [4.0, 8.0]}\n"
    )
    more = (*FAST, "--no-concentration-checks", "--no-slippage-stress")
    assert bench.factory("lossy", *more) == 0
    assert ": ITS REPLAY MAKES NO PROFIT (PNL $-" in bench.err
    assert "IT MAKES NO PROFIT OUT OF SAMPLE" in bench.err
    assert bench.factory("lossless", *more, "--require-profit") == 2
    rejected = bench.json("artifacts/runs/lossless/reports/selection.json")["rejected"]
    assert [one["reject_reasons"][0][:35] for one in rejected] == [
        "profit: its replay makes no profit "
    ] * len(rejected)


@pytest.mark.slow
def test_no_candidate_at_all(bench: Bench) -> None:
    assert bench.factory("few", *FAST, "--min-trades", "5000") == 2
    assert "at least 5000 trades" in bench.err
    assert bench.json("artifacts/runs/few/reports/selection.json")["passed_over"]


@pytest.mark.slow
def test_of_alike_trials_the_choice_survives(bench: Bench) -> None:
    """Two rows that come to the same: their Sharpe ratios do not vary, so luck had nothing to choose from."""
    (bench.folder / "spec.yaml").write_text(
        "axes:\n- {path: trade.sl_atr_mult, values: [4.0, 8.0]}\nlookback: 100\n"
    )
    assert bench.factory("same", *FAST, "--require-dsr", "--no-walk-forward") == 0
    assert "WARNING" not in bench.err
    selected = bench.json("artifacts/runs/same/reports/selection.json")
    assert selected["selected"]["survives_trials"] is True
    assert selected["selected_by"] == "total_pnl"
    assert selected["selected"]["score_v1"] is None


@pytest.mark.slow
def test_luck_of_one_that_trades_is_not_known(bench: Bench) -> None:
    """The other never trades, so nothing says how luck scatters: no proof is found in that."""
    (bench.folder / "spec.yaml").write_text(
        "axes:\n- {path: thresholds.entry.max_dist_ema_fast, values: [0.2, 1.0e-12]}\nlookback: 100\n"
    )
    more = (*FAST, "--no-walk-forward", "--no-slippage-stress")
    assert bench.factory("lone", *more) == 0
    selected = bench.json("artifacts/runs/lone/reports/selection.json")["selected"]
    assert selected["deflated_sharpe_ratio"] is None
    assert bench.factory("proved", *more, "--require-dsr") == 2
    rejected = bench.json("artifacts/runs/proved/reports/selection.json")["rejected"]
    assert [one["reject_reasons"] for one in rejected] == [
        ["trials: the deflated Sharpe ratio must be 0.95, cannot be told"]
    ]


@pytest.mark.slow
def test_a_mode_and_a_search(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROFILES, "smoke", Profile(30, 2, 3, 20))  # 2,000 trials take a minute
    (bench.folder / "spec.yaml").write_text(
        "axes:\n- {path: trade.tp_atr_mult, min: 2.0, max: 6.0, step: 1.0}\nlookback: 100\n"
    )
    more = ("--strategy-mode", "safe", "--no-walk-forward", "--no-slippage-stress", "--tpe")
    assert bench.factory("mode", *FAST, *more) == 0
    folder = bench.folder / "artifacts/runs/mode"
    effective = (folder / "_effective_configs/conservative.yaml").read_text()
    assert "leverage: 1.0" in effective
    report = read(folder / "reports/report.json")
    assert report["sweep"]["n_rows"] == 30
    for item in report["items"]:
        assert "leverage: 1.0" in (folder / item["config_path"]).read_text()
    about = read(folder / "sweeps/sweep_results.jsonl.best/sweep.json")
    assert about["search"] == {"batch": 256, "n_trials": 30, "seed": 42}


def test_tool_makes_only_the_checks_that_are_named(bench: Bench) -> None:
    line = factory_line("t", "--no-deploy", "--concentration-checks")[2:]
    assert bench.call(lambda: tool("factory_cycle").main(line)) == 0
    items = bench.json("artifacts/runs/t/reports/report.json")["items"]
    assert all(item["concentration"] for item in items)
    for name in ("walk_forward", "slippage_stress", "sensitivity", "monte_carlo"):
        assert all(item[name] is None for item in items)
    assert not list(bench.folder.glob("artifacts/runs/t/validation/*/walk_forward"))
    assert len(SYMBOLS) == items[0]["concentration"]["metrics"]["symbols_traded"]


def test_profiles_are_the_specified_ones() -> None:
    assert {name: astuple(one) for name, one in PROFILES.items()} == {
        "smoke": (2000, 2, 3, 20),
        "daily": (5000, 3, 10, 50),
        "deep": (500_000, 5, 20, 200),
    }


def test_tool_has_the_specified_flags(bench: Bench) -> None:
    assert bench.call(lambda: tool("factory_cycle").main(["--help"])) == 0
    wanted = """--run-id --profile --artifacts-dir --config --strategy-mode --sweep-spec --interval --candles-db
        --funding-db --gpu --tpe --walk-forward --slippage-stress --concentration-checks --sensitivity-checks --resume
        --no-deploy --yaml-path --restart --service --ws-service --pause-file --pause-mode --leave-paused
        --verify-sleep-s --dry-run --no-validate --deploy-reason --discord-target"""
    assert set(wanted.split()) <= set(re.findall(r"^  (--[a-z0-9-]+)", bench.out, re.MULTILINE))
