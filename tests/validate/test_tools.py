"""The programs in tools/ that are kinds of `mei-backtester validate`: their flags, and that they are the same."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.tools.loading import TOOLS, tool
from tests.validate.conftest import Bench

_REPLAYS = "--config --interval --candles-db --funding-db --strategy --semantics --output --out-dir"
KINDS = {
    "walk_forward_validate": (
        "walk-forward",
        f"{_REPLAYS} --start-ts --end-ts --no-scope-entry-exit --splits-json --split --min-test-days",
    ),
    "slippage_stress": ("slippage-stress", f"{_REPLAYS} --slippage-bps --reject-flip-bps"),
    "sensitivity_check": (
        "sensitivity",
        f"{_REPLAYS} --baseline-replay-report --perturb --timeout-s",
    ),
    "monte_carlo_bootstrap": (
        "monte-carlo",
        "--trades-csv --initial-balance --iters --seed --methods --output",
    ),
    "concentration_checks": (
        "concentration",
        "--replay-report --output --max-top1-pnl-pct --max-top5-pnl-pct --min-symbols-traded",
    ),
    "cross_universe_validate": ("cross-universe", "--replay-report --symbol-set --output"),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_tool_is_its_command(bench: Bench, name: str) -> None:
    kind, flags = KINDS[name]
    assert bench.call(lambda: tool(name).main(["--help"])) == 0
    said = bench.out
    assert f"Usage: mei-backtester validate {kind} [OPTIONS]" in said
    assert sorted(set(re.findall(r"^  (--[a-z0-9-]+)", said, re.MULTILINE))) == sorted(
        [*flags.split(), "--help"]
    )
    assert bench.run(f"validate {kind} --help") == 0
    assert bench.out == said


def test_a_tool_as_a_program(bench: Bench) -> None:
    report = '{"per_symbol": {"A": {"trades": 1, "net_pnl_usd": 5.0}}, "by_side": []}'
    (bench.folder / "r.json").write_text(report)
    assert bench.run("validate concentration --replay-report r.json") == 0
    program = [sys.executable, str(TOOLS / "concentration_checks.py")]
    done = subprocess.run(
        [*program, "--replay-report", "r.json"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, bench.out)
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def test_validate_alone_lists_its_kinds(bench: Bench) -> None:
    assert bench.run("validate --help") == 0
    for kind, _ in KINDS.values():
        assert re.search(rf"^  {kind} ", bench.out, re.MULTILINE)
