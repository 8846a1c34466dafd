"""validate monte-carlo: paths that anybody can draw again, and quantiles by hand."""

from __future__ import annotations

import json
import random
from pathlib import Path
from statistics import stdev
from typing import Any

import numpy as np
import pytest

from mei.metrics.bootstrap import distribution, path_of, quantile
from mei.report.replay_csv import HEADER
from tests.validate.conftest import CONFIG, Bench

LINE = "validate monte-carlo --initial-balance 1000"


def write_trades(path: Path, rows: list[tuple[int, float, float]]) -> None:
    """(exit time, profit, fee) as a replay writes them; bought at 100, sold at 200."""
    lines = [
        f"1:{n},1,0,{at_ms},BTC,LONG,100.00000000,200.00000000,1.00000000,{pnl:.8f},{fee:.8f},0.0,0.0,exit,why"
        for n, (at_ms, pnl, fee) in enumerate(rows)
    ]
    path.write_text("\n".join([HEADER, *lines]) + "\n")


ROWS = [(30, 40.0, 1.0), (10, -20.5, 0.5), (20, 7.25, 0.25), (20, -90.0, 2.0), (40, 0.0, 0.0)]
#: Profit less exit fee in order of exit, rows of one time as they stand.
NETS = [-21.0, 7.0, -92.0, 39.0, 0.0]


def drawn(nets: list[float], iters: int, seed: int, methods: list[str]) -> dict[str, Any]:
    """The same by the book: one generator, methods one after another."""
    generator = random.Random(seed)
    found: dict[str, Any] = {}
    for method in methods:
        finals, returns, drawdowns = [], [], []
        for _ in range(iters):
            order = nets[:]
            if method == "bootstrap":
                order = generator.choices(nets, k=len(nets))
            else:
                generator.shuffle(order)
            balance = peak = 1000.0
            worst = 0.0
            for net in order:
                balance += net
                peak = max(peak, balance)
                worst = max(worst, (peak - balance) / peak)
            finals.append(balance)
            returns.append((balance - 1000.0) / 1000.0)
            drawdowns.append(worst)
        found[method] = {
            "final_balance": finals,
            "total_return_pct": returns,
            "max_drawdown_pct": drawdowns,
        }
    return found


@pytest.mark.parametrize(
    "methods", [["bootstrap", "shuffle"], ["shuffle", "bootstrap"], ["shuffle"]]
)
def test_paths_are_those_of_the_seed(bench: Bench, methods: list[str]) -> None:
    write_trades(bench.folder / "t.csv", ROWS)
    flags = f"--trades-csv t.csv --iters 201 --seed 7 --methods {','.join(methods)} --output o.json"
    assert bench.run(f"{LINE} {flags}") == 0
    found = bench.json("o.json")
    for method, columns in drawn(NETS, 201, 7, methods).items():
        for name, values in columns.items():
            one = found["methods"][method][name]
            assert one["n"] == 201
            assert one["p50"] == sorted(values)[100]
            assert one["p05"] == sorted(values)[10]
            assert one["p95"] == sorted(values)[190]
            assert one["p02_5"] == sorted(values)[5]
            assert one["p97_5"] == sorted(values)[195]
            assert one["stdev"] == stdev(values)
            assert one["mean"] == pytest.approx(np.mean(values), rel=1e-12)
    assert list(found["methods"]) == sorted(methods)
    before = (bench.folder / "o.json").read_bytes()
    assert bench.run(f"{LINE} {flags}") == 0
    assert (bench.folder / "o.json").read_bytes() == before


def test_the_summary_says_what_it_is_of(bench: Bench) -> None:
    write_trades(bench.folder / "t.csv", ROWS)
    assert bench.run(f"{LINE} --trades-csv t.csv") == 0
    found = json.loads(bench.out)
    assert found["version"] == "mc_bootstrap_v1"
    assert (found["iters"], found["seed"], found["n_trades"]) == (2000, 42, 5)
    assert (found["initial_balance"], found["trades_csv"]) == (1000.0, "t.csv")
    assert list(found["methods"]) == ["bootstrap"]
    assert found["observed"] == {
        "net_pnl_usd": -67.0,
        "final_balance": 933.0,
        "total_return_pct": -0.067,
        # From 1,000 down by 21, up by 7 and down by 92.
        "max_drawdown_pct": 106.0 / 1000.0,
    }
    # Bought at half the price they were sold at: half the fee again.
    entries = found["with_entry_fees"]
    assert entries["observed"]["net_pnl_usd"] == -67.0 - 3.75 / 2.0
    nets = [-21.25, 6.875, -93.0, 38.5, 0.0]
    finals = drawn(nets, 2000, 42, ["bootstrap"])["bootstrap"]["final_balance"]
    assert entries["methods"]["bootstrap"]["final_balance"]["p50"] == quantile(sorted(finals), 0.5)


def test_entry_fees_bring_the_trades_to_the_profit_of_the_report(bench: Bench) -> None:
    config = CONFIG.replace("trade: {entry", "trade: {enable_pyramiding: false, entry", 1)
    (bench.folder / "c.yaml").write_text(config)
    assert bench.run("replay --config c.yaml --export-trades t.csv --output r.json") == 0
    line = "validate monte-carlo --initial-balance 10000 --iters 1 --trades-csv t.csv"
    assert bench.run(f"{line} --methods shuffle") == 0
    found, report = json.loads(bench.out), bench.json("r.json")
    assert report["total_trades"] > 20
    net = found["with_entry_fees"]["observed"]["net_pnl_usd"]
    assert net == pytest.approx(report["total_pnl"], abs=1e-6)
    assert found["observed"]["net_pnl_usd"] > report["total_pnl"] + 1.0


def test_paths_by_hand() -> None:
    assert path_of([10.0, -30.0, 5.0, -20.0], 100.0) == (65.0, -0.35, (110.0 - 65.0) / 110.0)
    assert path_of([1.0, 2.0], 100.0) == (103.0, 0.03, 0.0)
    # More than everything can be lost.
    assert path_of([-150.0], 100.0) == (-50.0, -1.5, 1.5)


def test_quantiles_by_hand() -> None:
    assert quantile([1.0, 2.0, 4.0], 0.25) == 1.5
    assert quantile([1.0, 2.0, 4.0], 0.75) == 3.0
    assert quantile([1.0, 2.0, 4.0], 1.0) == 4.0
    assert quantile([3.0], 0.025) == 3.0
    values = np.random.default_rng(1).normal(size=101).tolist()
    one = distribution(values)
    wanted = np.quantile(values, [0.025, 0.05, 0.5, 0.95, 0.975])
    assert [one.p02_5, one.p05, one.p50, one.p95, one.p97_5] == pytest.approx(wanted, rel=1e-12)
    assert one.stdev == pytest.approx(np.std(values, ddof=1), rel=1e-12)
    assert distribution([2.0]).stdev == 0.0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            "--methods bootstrap,jackknife",
            "--methods must be of bootstrap, shuffle, was 'jackknife'",
        ),
        ("--methods ,", "was empty"),
        ("--iters 0", "--iters"),
        ("--seed x", "--seed"),
        ("--initial-balance 0", "--initial-balance must be above 0, was 0.0"),
        ("--initial-balance nan", "--initial-balance must be a finite number"),
        ("--trades-csv none.csv", "none.csv must be the trade CSV of a replay"),
        ("--output t.csv", "t.csv is that of --trades-csv"),
        ("--output no/o.json", "must be in a folder that exists"),
    ],
)
def test_flags_that_are_wrong_leave_with_2(bench: Bench, flags: str, words: str) -> None:
    write_trades(bench.folder / "t.csv", ROWS)
    before = (bench.folder / "t.csv").read_text()
    assert bench.run(f"{LINE} --trades-csv t.csv {flags}") == 2
    assert words in bench.err.splitlines()[-1]
    assert bench.out == ""
    assert (bench.folder / "t.csv").read_text() == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "t.csv:1: the trade CSV of a replay must have the column exit_ts_ms"),
        ("timestamp,pnl\n1,2\n", "must have the column exit_ts_ms"),
        (HEADER.replace("fee_usd", "fees") + "\n", "must have the column fee_usd"),
        (HEADER + "\n", "t.csv must have a trade to draw, has none"),
        (HEADER + "\n1:1,1,0\n", "t.csv:2: exit_ts_ms must be a time in epoch ms, was None"),
        (HEADER + "\n1:1,1,0,soon,BTC,LONG,1,1,1,1,1,0,0,a,b\n", "was 'soon'"),
        (
            HEADER + "\n1:1,1,0,5,BTC,LONG,1,1,1,much,1,0,0,a,b\n",
            "t.csv:2: pnl_usd must be a number",
        ),
        (HEADER + "\n1:1,1,0,5,BTC,LONG,1,1,1,nan,1,0,0,a,b\n", "pnl_usd must be a number"),
        (HEADER + "\n1:1,1,0,5,BTC,LONG,1,1,1,1,1e300,0,0,a,b\n", "fee_usd must be a number"),
        (HEADER + "\n1:1,1,0,5,BTC,LONG,0,1,1,1,1,0,0,a,b\n", "must be above 0, were 0.0 and 1.0"),
        (HEADER + '\n1:1,"x\n', "must be the trade CSV of a replay"),
    ],
)
def test_trades_that_are_wrong_are_named(bench: Bench, text: str, words: str) -> None:
    (bench.folder / "t.csv").write_text(text)
    assert bench.run(f"{LINE} --trades-csv t.csv") == 2
    assert words in bench.err.splitlines()[-1]
