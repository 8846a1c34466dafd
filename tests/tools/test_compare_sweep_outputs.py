"""compare_sweep_outputs: rows, rankings, assertions, baselines, and input that is wrong."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from mei.metrics.sweep_parity import Outcome, compare_ranking, compare_rows, key_text, row_key
from tests.tools.loading import TOOLS, exit_code, tool

Row = dict[str, Any]
LANE_A, LANE_B = "lane_a_identical_symbol_universe", "lane_b_production_truncation"


def row(pnl: float, trades: int = 30, **overrides: Any) -> Row:
    """A row as the CPU writes it."""
    return {"overrides": overrides, "total_pnl": pnl, "total_trades": trades}


def as_pairs(rows: list[Row]) -> list[Row]:
    """The same rows as a GPU of the reference writes them."""
    return [one | {"overrides": [list(pair) for pair in one["overrides"].items()]} for one in rows]


def write(path: Path, rows: list[Row]) -> str:
    """Rows as JSON Lines."""
    path.write_text("".join(f"{json.dumps(one)}\n" for one in rows))
    return str(path)


ROWS = [row(pnl, b=float(i), a=1) for i, pnl in enumerate([50.0, 40.0, 30.0, 20.0, 10.0])]


class Bench:
    """Runs the tool over rows in a folder."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self._capsys = capsys
        self.out = self.err = ""

    def run(self, cpu: list[Row], gpu: list[Row], *flags: str, lane_b: Any = None) -> int:
        """The exit code with `cpu` and `gpu` in lane A, `lane_b` (or a row on both sides) in lane B."""
        names = ("a_cpu", "a_gpu", "b_cpu", "b_gpu")
        pairs = (cpu, gpu, *(lane_b or (ROWS, ROWS)))
        arguments = ["--output", str(self.folder / "report.json"), *flags]
        for name, rows in zip(names, pairs, strict=True):
            flag = f"--lane-{name.replace('_', '-')}"
            arguments += [flag, write(self.folder / f"{name}.jsonl", rows)]
        code = exit_code(tool("compare_sweep_outputs"), arguments)
        self.out, self.err = self._capsys.readouterr()
        return code

    @property
    def report(self) -> Any:
        """The report written."""
        return json.loads((self.folder / "report.json").read_text())

    @property
    def lane_a(self) -> Any:
        """Lane A of it."""
        return self.report["lanes"][LANE_A]


@pytest.fixture(name="bench")
def _bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    return Bench(tmp_path, capsys)


def test_alike_sweeps_agree_in_both_forms_and_any_order(bench: Bench) -> None:
    assert bench.run(ROWS, as_pairs(ROWS)[::-1], "--fail-on-assert", "--require-top1-match") == 0
    report = bench.report
    assert list(report) == [
        "schema",
        "generated_at_utc",
        "lanes",
        "ranking_parity_assertions",
        "baseline_comparison",
    ]
    assert report["schema"] == "gpu_smoke_parity_lane_report_v1"
    assert list(report["lanes"]) == [LANE_A, LANE_B]
    lane = bench.lane_a
    assert lane["lane"] == LANE_A
    assert lane["inputs"]["cpu"].endswith("a_cpu.jsonl")
    assert lane["rows"] == {
        "cpu": 5,
        "gpu": 5,
        "matched": 5,
        "missing_in_gpu": 0,
        "missing_in_cpu": 0,
    }
    assert set(lane["parity"].values()) == {0}
    assert lane["ranking"]["top_k_overlap"] == {
        str(k): {"overlap": min(k, 5), "effective_k": min(k, 5)} for k in (1, 3, 5, 10)
    }
    assert lane["ranking"]["top1_cpu"] == lane["ranking"]["top1_gpu"] == "a=1.0,b=0.0"
    assert lane["ranking"]["spearman_rho"] == 1.0
    assert lane["ranking"]["all_pass"] is True
    asserted = report["ranking_parity_assertions"]
    assert asserted["synthetic"] == {"status": "not_provided"}
    assert asserted["smoke"]["all_pass"] is True
    assert asserted["smoke"][LANE_B]["assertions"] == lane["ranking"]["assertions"]
    assert report["baseline_comparison"] == {"lane_a": {"status": "not_provided"}}


def test_differences_are_counted_over_what_is_in_common(bench: Bench) -> None:
    cpu = [row(10.0, 5, a=1), row(20.0, 7, a=2), row(30.0, 9, a=3), row(1.0, 1, a=9)]
    gpu = [row(10.5, 5, a=1), row(17.0, 9, a=2), row(30.0, 8, a=3), row(1.0, a=7), row(1.0, a=8)]
    assert bench.run(cpu, gpu, "--pnl-abs-tol", "0.5", "--trade-abs-tol", "1") == 0
    lane = bench.lane_a
    assert (lane["rows"]["missing_in_gpu"], lane["rows"]["missing_in_cpu"]) == (1, 2)
    assert lane["rows"]["matched"] == 3
    assert lane["parity"]["any_mismatch_count"] == 1
    assert lane["parity"]["max_abs_total_pnl_diff"] == 3.0
    assert lane["parity"]["mean_abs_total_pnl_diff"] == 3.5 / 3
    assert lane["parity"]["trade_count_mismatch_count"] == 1
    assert lane["parity"]["max_abs_total_trades_diff"] == 2.0
    bench.run(cpu, gpu)
    assert bench.lane_a["parity"]["any_mismatch_count"] == 2
    assert bench.lane_a["parity"]["trade_count_mismatch_count"] == 2


@pytest.mark.parametrize(
    ("flags", "failed"),
    [
        ([], ["spearman_rho"]),
        (["--min-spearman", "-1"], []),
        (["--min-spearman", "-1", "--require-top1-match"], ["top1_match"]),
        (["--min-spearman", "-1", "--min-top3-overlap", "3"], ["top3_overlap"]),
        (["--top-k", "2", "--min-top3-overlap", "9"], ["top3_overlap", "spearman_rho"]),
    ],
)
def test_rankings_apart_fail_the_assertions_asked_for(
    bench: Bench, flags: list[str], failed: list[str]
) -> None:
    # CPU ranks 0 1 2 3 4; GPU 1 0 4 3 2: two of the best three, sum of squares 1 + 1 + 4 + 4.
    gpu = [row(pnl, b=float(i), a=1) for i, pnl in enumerate([40.0, 50.0, 10.0, 20.0, 30.0])]
    lane = (ROWS, gpu)
    code = bench.run(ROWS, ROWS, *flags, "--fail-on-assert", "--print-summary", lane_b=lane)
    ranking = bench.report["lanes"][LANE_B]["ranking"]
    assert ranking["spearman_rho"] == pytest.approx(0.5)
    assert [name for name, one in ranking["assertions"].items() if not one["pass"]] == failed
    assert ranking["all_pass"] is (not failed)
    assert code == (1 if failed else 0)
    assert (f"FAIL {', '.join(failed)}" in bench.out) is bool(failed)
    assert bench.run(ROWS, ROWS, *flags, lane_b=lane) == 0
    assert bench.out == ""


def test_sweeps_with_nothing_in_common_fail(bench: Bench) -> None:
    assert bench.run([row(1.0, a=1)], [row(1.0, a=2)], "--fail-on-assert") == 1
    lane = bench.lane_a
    assert lane["ranking"]["assertions"]["rows_in_common"]["pass"] is False
    assert lane["ranking"]["top1_cpu"] is None
    assert lane["ranking"]["spearman_rho"] == 1.0
    assert bench.run([row(1.0)], [row(1.0)], "--fail-on-assert") == 0


def test_a_baseline_is_held(bench: Bench) -> None:
    gpu = [row(51.0, b=0.0, a=1), *ROWS[1:]]
    flags = ["--baseline-any-mismatch-count", "1", "--baseline-max-abs-total-pnl-diff", "0.5"]
    assert bench.run(ROWS, gpu, *flags, "--print-summary") == 0
    compared = bench.report["baseline_comparison"]["lane_a"]
    assert compared == {
        "status": "compared",
        "checks": {
            "any_mismatch_count": {"baseline": 1, "current": 1, "improved_or_equal": True},
            "max_abs_total_pnl_diff": {
                "baseline": 0.5,
                "current": 1.0,
                "improved_or_equal": False,
            },
        },
        "all_improved_or_equal": False,
    }
    assert "improved or equal: NO" in bench.out


def test_a_synthetic_ranking_is_taken_over(bench: Bench) -> None:
    path = bench.folder / "synthetic.json"
    path.write_text('{"all_pass": true, "cases": [1]}')
    assert bench.run(ROWS, ROWS, "--synthetic-ranking-json", str(path)) == 0
    asserted = bench.report["ranking_parity_assertions"]
    assert asserted["synthetic"] == {"all_pass": True, "cases": [1]}
    path.write_text("{")
    assert bench.run(ROWS, ROWS, "--synthetic-ranking-json", str(path)) == 2
    assert "must be a JSON file" in bench.err


def test_keys_forgive_what_is_no_difference() -> None:
    one = row_key({"b": True, "a": -0.0, "c": "sign", "d": 0.1 + 0.2})
    assert one == row_key({"a": 0, "b": 1, "c": "sign", "d": 0.3})
    assert key_text(one) == "a=0.0,b=1.0,c=sign,d=0.3"
    assert row_key({"a": 1.0}) != row_key({"a": 1.0 + 1e-9})


@given(st.permutations(range(9)))
def test_spearman_is_that_of_others(order: list[int]) -> None:
    keys = [row_key({"a": number}) for number in range(9)]
    cpu = {key: Outcome(float(number), 1.0) for number, key in enumerate(keys)}
    gpu = {key: Outcome(float(place), 1.0) for key, place in zip(keys, order, strict=True)}
    ranking = compare_ranking(cpu, gpu, (3,))
    assert ranking.spearman_rho == pytest.approx(spearmanr(range(9), order).statistic, abs=1e-12)
    best = {place for place in range(9) if order[place] > 5} & {6, 7, 8}
    assert ranking.overlaps[3].overlap == len(best)


def test_equal_profits_are_ranked_by_their_key() -> None:
    keys = [row_key({"a": number}) for number in (2, 10, 1)]
    rows = dict.fromkeys(keys, Outcome(5.0, 1.0))
    assert compare_ranking(rows, rows, (1,)).best_cpu == row_key({"a": 1})
    assert compare_rows(rows, {}, pnl_tolerance=0, trade_tolerance=0).total_pnl.mean == 0.0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"total_pnl": 1, "total_trades": 2}', "must have overrides"),
        ('{"overrides": [["a"]], "total_pnl": 1, "total_trades": 2}', "must have overrides"),
        ('{"overrides": [["a", 1], ["a", 2]]}', "have a twice"),
        ('{"overrides": {}, "total_trades": 2}', "total_pnl .* was absent"),
        ('{"overrides": {}, "total_pnl": null, "total_trades": 2}', "total_pnl .* was null"),
        ('{"overrides": {}, "total_pnl": "1", "total_trades": 2}', "total_pnl .* was '1'"),
        ('{"overrides": {}, "total_pnl": 1e999, "total_trades": 2}', "total_pnl .* was inf"),
        ('{"overrides": {}, "total_pnl": NaN, "total_trades": 2}', "NaN is no number"),
        ('{"overrides": {}', "must be a JSON object"),
        ("[1]", "must be a JSON object"),
        ('{"overrides": {"a": 1}, "total_pnl": 1, "total_trades": 2}', "is there before: a=1.0"),
    ],
)
def test_rows_that_are_wrong_are_named(bench: Bench, line: str, words: str) -> None:
    bench.run(ROWS, ROWS)
    path = bench.folder / "bad.jsonl"
    good = json.dumps(row(1.0, a=True))
    path.write_text(f"{good}\n\n{line}\n")
    arguments = [f"--lane-{lane}-{kind}" for lane, kind in itertools.product("ab", ("cpu", "gpu"))]
    files = itertools.chain.from_iterable((flag, str(path)) for flag in arguments)
    out = str(bench.folder / "other.json")
    command = [sys.executable, str(TOOLS / "compare_sweep_outputs.py"), *files, "--output", out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "bad.jsonl:3" in done.stderr
    assert re.search(words, done.stderr), done.stderr
    assert not Path(out).exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--top-k", "0"],
        ["--top-k", "x"],
        ["--pnl-abs-tol", "-1"],
        ["--min-spearman", "nan"],
        ["--lane-a-cpu", "none.jsonl"],
        ["--output", "no_folder/report.json"],
    ],
)
def test_flags_that_are_wrong_leave_with_2(bench: Bench, flags: list[str]) -> None:
    if flags[0] in ("--lane-a-cpu", "--output"):
        tool_arguments = ["--lane-a-gpu", "x", "--lane-b-cpu", "x", "--lane-b-gpu", "x"]
        if flags[0] == "--output":
            tool_arguments += ["--lane-a-cpu", "x"]
        else:
            tool_arguments += ["--output", str(bench.folder / "o.json")]
        code = exit_code(tool("compare_sweep_outputs"), [*tool_arguments, *flags])
    else:
        code = bench.run(ROWS, ROWS, *flags)
    assert code == 2
