"""validate concentration and cross-universe: sums over a report by hand, and reports that are none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from mei.metrics.symbol_shares import COUNTED, SUMMED, concentration
from tests.validate.conftest import Bench


def symbol(net: float, trades: int = 2, fees: float = 1.0) -> dict[str, Any]:
    """A symbol of a report."""
    numbers = {name: float(place) for place, name in enumerate(SUMMED)}
    numbers |= {name: trades for name in COUNTED}
    return numbers | {"net_pnl_usd": net, "trades": trades, "fees_usd": fees}


def write_report(bench: Bench, nets: Mapping[str, Any], **more: Any) -> None:
    """A report of these symbols in r.json."""
    per_symbol = {name: one if isinstance(one, dict) else symbol(one) for name, one in nets.items()}
    sides = [
        {"side": "LONG", "pnl": 12.5, "trades": 3},
        {"side": "SHORT", "pnl": -2.0, "trades": 1},
    ]
    report = {"per_symbol": per_symbol, "by_side": sides} | more
    (bench.folder / "r.json").write_text(json.dumps(report))


NETS = {"A": 60.0, "B": 20.0, "C": 10.0, "D": 5.0, "E": 3.0, "F": 2.0, "G": -50.0}


def test_shares_of_the_best_symbols(bench: Bench) -> None:
    write_report(bench, NETS | {"Z": symbol(999.0, trades=0)})
    assert bench.run("validate concentration --replay-report r.json --output o.json") == 0
    assert bench.json("o.json") == {
        "replay_report_path": "r.json",
        "metrics": {
            "symbols_traded": 7,
            "positive_pnl_usd": 100.0,
            "top1_symbol": "A",
            "top1_pnl_pct": 0.6,
            "top5_pnl_pct": 0.98,
            "long_pnl_usd": 12.5,
            "short_pnl_usd": -2.0,
        },
        "thresholds": {
            "max_top1_pnl_pct": 0.65,
            "max_top5_pnl_pct": 0.9,
            "min_symbols_traded": 5,
        },
        "reject": True,
        "reject_reasons": ["top5_pnl_pct 0.9800 > max_top5_pnl_pct 0.9000"],
    }


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        # Equal to a threshold is within it.
        ("--max-top1-pnl-pct 0.6 --max-top5-pnl-pct 0.98 --min-symbols-traded 7", []),
        (
            "--max-top1-pnl-pct 0.59 --max-top5-pnl-pct 0.97 --min-symbols-traded 8",
            ["top1", "top5", "symb"],
        ),
        ("--max-top1-pnl-pct 0 --max-top5-pnl-pct -1 --min-symbols-traded 0", []),
        ("--max-top1-pnl-pct 0.1 --max-top5-pnl-pct 0", ["top1"]),
    ],
)
def test_thresholds(bench: Bench, flags: str, names: list[str]) -> None:
    write_report(bench, NETS)
    assert bench.run(f"validate concentration --replay-report r.json {flags}") == 0
    found = json.loads(bench.out)
    assert [reason[:4] for reason in found["reject_reasons"]] == names
    assert found["reject"] is bool(names)


@pytest.mark.parametrize("nets", [{}, {"A": -1.0, "B": -3.0}, {"A": 0.0}])
def test_without_a_profit_shares_are_0(bench: Bench, nets: dict[str, float]) -> None:
    found = concentration(nets)
    assert (found.positive_usd, found.top1_frac, found.top5_frac) == (0.0, 0.0, 0.0)
    assert found.top1_symbol == ("A" if nets else None)
    write_report(bench, nets, by_side=[])
    assert bench.run("validate concentration --replay-report r.json --min-symbols-traded 0") == 0
    found_json = json.loads(bench.out)
    assert found_json["reject"] is False
    assert found_json["metrics"]["long_pnl_usd"] == 0.0
    assert ("No symbol made a profit" in bench.err) is bool(nets)


def test_sums_over_lists_of_symbols(bench: Bench) -> None:
    write_report(
        bench, {"B": symbol(30.0, 3, 2.0), "A": symbol(0.1, 1, 0.5), "C": symbol(-10.0, 4, 1.5)}
    )
    (bench.folder / "a.txt").write_text("# of the exchange\nC  # late\n\nDOGE\nA\nC\n")
    (bench.folder / "b.json").write_text('["B", "B"]')
    (bench.folder / "c.JSON").write_text('["X"]')
    sets = "--symbol-set core=a.txt --symbol-set one=b.json --symbol-set none=c.JSON"
    line = f"validate cross-universe --replay-report r.json {sets} --output o.json"
    assert bench.run(line) == 0
    found = bench.json("o.json")
    assert sorted(found) == ["replay_report_path", "symbol_sets", "total", "version"]
    assert found["version"] == "cross_universe_v1"
    assert found["total"]["net_pnl_usd"] == 0.1 + 30.0 - 10.0
    assert found["total"]["trades"] == 8
    assert found["total"]["realised_pnl_usd"] == 9.0
    assert sorted(found["total"]) == sorted(SUMMED)
    core, one, none = found["symbol_sets"]
    assert (core["name"], core["path"]) == ("core", "a.txt")
    assert core["provided_symbols"] == ["A", "C", "DOGE"]
    assert core["present_symbols"] == ["A", "C"]
    assert core["missing_symbols"] == ["DOGE"]
    assert core["subset"]["net_pnl_usd"] == 0.1 - 10.0
    assert core["outside"]["net_pnl_usd"] == 30.0
    assert core["outside"]["fills"] == 3
    assert core["shares"] == {
        "net_pnl_usd": (0.1 - 10.0) / (0.1 + 30.0 - 10.0),
        "trades": 5 / 8,
        "fees_usd": 0.5,
    }
    assert one["present_symbols"] == one["provided_symbols"] == ["B"]
    assert none["present_symbols"] == []
    assert set(none["subset"].values()) == {0}
    assert none["outside"] == found["total"]
    assert "none: 0 of 1 symbols" in bench.err
    assert "are they written alike?" in bench.err


def test_sums_are_made_in_the_order_of_the_names(bench: Bench) -> None:
    write_report(bench, {"C": 1.0, "A": 1e16, "B": -1e16})
    (bench.folder / "a.txt").write_text("C\nB\nA\n")
    assert bench.run("validate cross-universe --replay-report r.json --symbol-set a=a.txt") == 0
    found = json.loads(bench.out)
    assert found["symbol_sets"][0]["present_symbols"] == ["A", "B", "C"]
    assert found["total"]["net_pnl_usd"] == found["symbol_sets"][0]["subset"]["net_pnl_usd"] == 1.0


def test_shares_of_next_to_nothing_are_0(bench: Bench) -> None:
    write_report(bench, {"A": symbol(1e-13, 0, 0.0)})
    (bench.folder / "a.txt").write_text("A")
    assert bench.run("validate cross-universe --replay-report r.json --symbol-set a=a.txt") == 0
    shares = json.loads(bench.out)["symbol_sets"][0]["shares"]
    assert shares == {"net_pnl_usd": 0.0, "trades": 0.0, "fees_usd": 0.0}


def test_both_take_the_report_of_a_replay(bench: Bench) -> None:
    line = "replay --config c.yaml --output r.json --funding-db candles_dbs/funding_rates.db"
    assert bench.run(line) == 0
    report = bench.json("r.json")
    assert bench.run("validate concentration --replay-report r.json") == 0
    metrics = json.loads(bench.out)["metrics"]
    by_side = {one["side"]: one["pnl"] for one in report["by_side"]}
    assert (metrics["long_pnl_usd"], metrics["short_pnl_usd"]) == (
        by_side["LONG"],
        by_side["SHORT"],
    )
    assert metrics["symbols_traded"] == 2
    (bench.folder / "a.txt").write_text("BTC\n")
    assert bench.run("validate cross-universe --replay-report r.json --symbol-set a=a.txt") == 0
    found = json.loads(bench.out)
    assert found["total"]["net_pnl_usd"] == pytest.approx(report["total_pnl"], abs=1e-6)
    assert found["symbol_sets"][0]["subset"]["fees_usd"] == report["per_symbol"]["BTC"]["fees_usd"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is no JSON"),
        ("[1]", "must be the report of a replay (JSON, of --output), was [1]"),
        ("{}", "r.json: per_symbol must be an object, was absent"),
        ('{"per_symbol": [1]}', "per_symbol must be an object, was [1]"),
        ('{"per_symbol": {"A": 1}}', "per_symbol.A must be an object, was 1"),
        ('{"per_symbol": {"A": {}}}', "per_symbol.A.trades must be a finite number, was absent"),
        (
            '{"per_symbol": {"A": {"trades": null}}}',
            "per_symbol.A.trades must be a finite number, was None",
        ),
        ('{"per_symbol": {"A": {"trades": true}}}', "was True"),
        ('{"per_symbol": {"A": {"trades": NaN}}}', "was nan"),
        ('{"per_symbol": {"A": {"trades": "1"}}}', "was '1'"),
    ],
)
@pytest.mark.parametrize("kind", ["concentration", "cross-universe --symbol-set a=a.txt"])
def test_reports_that_are_wrong_are_told(bench: Bench, kind: str, text: str, words: str) -> None:
    (bench.folder / "r.json").write_text(text)
    (bench.folder / "a.txt").write_text("A")
    assert bench.run(f"validate {kind} --replay-report r.json --output o.json") == 2
    assert words in bench.err.splitlines()[-1]
    assert not (bench.folder / "o.json").exists()


@pytest.mark.parametrize(
    ("by_side", "words"),
    [
        (None, "by_side must be a list of objects, was absent"),
        ([1], "was [1]"),
        ([{"side": "LONG"}], "pnl of LONG must be"),
    ],
)
def test_sides_that_are_wrong_are_told(bench: Bench, by_side: Any, words: str) -> None:
    write_report(bench, NETS, by_side=by_side)
    assert bench.run("validate concentration --replay-report r.json") == 2
    assert words in bench.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("concentration", "--replay-report"),
        ("concentration --replay-report none.json", "none.json must be the report of a replay"),
        (
            "concentration --replay-report r.json --output r.json",
            "r.json is that of --replay-report",
        ),
        ("concentration --replay-report r.json --max-top1-pnl-pct inf", "must be a finite number"),
        ("concentration --replay-report r.json --min-symbols-traded 1.5", "--min-symbols-traded"),
        ("cross-universe --replay-report r.json", "--symbol-set"),
        ("cross-universe --replay-report r.json --symbol-set a", "must be NAME=PATH, was 'a'"),
        ("cross-universe --replay-report r.json --symbol-set =a.txt", "must be NAME=PATH"),
        (
            "cross-universe --replay-report r.json --symbol-set a=a.txt --symbol-set a=b",
            "a is there twice",
        ),
        (
            "cross-universe --replay-report r.json --symbol-set a=none.txt",
            "none.txt must be a list of symbols",
        ),
        (
            "cross-universe --replay-report r.json --symbol-set a=empty.txt",
            "must name a symbol, names none",
        ),
        (
            "cross-universe --replay-report r.json --symbol-set a=o.json",
            "must be a JSON array of symbols",
        ),
        (
            "cross-universe --replay-report r.json --symbol-set a=r.json",
            "must be a JSON array of symbols",
        ),
        (
            "cross-universe --replay-report r.json --symbol-set a=a.txt --output a.txt",
            "a.txt is that of --symbol-set",
        ),
        ("other", "No such command"),
    ],
)
def test_what_is_wrong_leaves_with_2(bench: Bench, line: str, words: str) -> None:
    write_report(bench, NETS)
    (bench.folder / "a.txt").write_text("A")
    (bench.folder / "empty.txt").write_text("# nothing\n")
    (bench.folder / "o.json").write_text('["A", 1]')
    assert bench.run(f"validate {line}") == 2
    assert words in bench.err.splitlines()[-1]
    assert bench.out == ""
    assert (bench.folder / "a.txt").read_text() == "A"
