"""replay, sweep and dump-indicators from the command line, over made-up candles."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from mei.rules.mei_alpha.keys import OF_PORTFOLIO
from tests.workflows.command_line import CONFIG, N_HOURS, SPEC, rows_of
from tests.workflows.databases import HOUR_MS, START_MS

ALL = "--config c.yaml --exit-interval 15m --entry-interval 15m --funding-db candles_dbs/funding_rates.db"


@pytest.mark.parametrize("semantics", ["strict", "reference"])
def test_report_goes_to_standard_output_alone(run: Any, semantics: str) -> None:
    said = run(f"replay {ALL} --semantics {semantics} --trades --equity-curve")
    assert said.code == 0
    report = json.loads(said.out)
    assert report["total_trades"] > 3
    assert len(report["trades"]) > report["total_trades"]
    assert len(report["equity_curve"]) > 100
    assert said.err.startswith("mei-backtester v0.1.0\n\n[replay] Config loaded")
    assert "[bt-data] Loaded 3 symbols, 2100 bars" in said.err
    assert "=== Backtest Summary ===" in said.err


def test_report_without_flags_has_neither_trades_nor_curve(run: Any) -> None:
    report = json.loads(run("replay --config c.yaml").out)
    assert "trades" not in report
    assert "equity_curve" not in report
    assert report["config_id"] == "replay"


def test_files_are_written_and_told(run: Any, folder: Path) -> None:
    said = run(f"replay {ALL} --output r.json --export-trades t.csv --trades")
    assert said.out == ""
    assert said.err.endswith(
        "[replay] Trade CSV written to t.csv\n[replay] Report written to r.json\n"
    )
    report = json.loads((folder / "r.json").read_text())
    rows = list(csv.DictReader((folder / "t.csv").read_text().splitlines()))
    closes = [t for t in report["trades"] if t["action"].startswith(("CLOSE", "REDUCE"))]
    assert len(rows) == len(closes) == report["total_trades"]
    assert len({row["trade_id"] for row in rows}) == len(rows)
    assert report["slippage_bps"] == 4.0


def test_balance_is_initial_plus_profit_of_all_rows(run: Any) -> None:
    report = json.loads(run(f"replay {ALL} --trades").out)
    total = sum(t["pnl"] - t["fee"] for t in report["trades"])
    assert report["final_balance"] == pytest.approx(10_000.0 + total, rel=1e-12)
    assert report["trades"][-1]["balance"] == report["final_balance"]
    net = sum(one["net_pnl_usd"] for one in report["per_symbol"].values())
    assert report["total_pnl"] == pytest.approx(net, rel=1e-9)


def test_layers_of_the_file_reach_the_run(run: Any) -> None:
    def per_symbol(line: str) -> Any:
        return json.loads(run(f"replay --config c.yaml {line}").out)["per_symbol"]

    plain = per_symbol("")
    ratios = {
        name: per_symbol("--slippage-bps 4")[name]["estimated_slippage_usd"]
        / plain[name]["estimated_slippage_usd"]
        for name in ("ETH", "SOL")
    }
    assert ratios["SOL"] == pytest.approx(1.0, abs=0.1)
    assert ratios["ETH"] == pytest.approx(4.0 / 9.0, abs=0.1)
    reference = "--semantics reference"
    assert per_symbol(reference) == per_symbol(f"{reference} --slippage-bps 4")
    alone = json.loads(run(f"replay --config c.yaml {reference} --symbol eth").out)
    assert alone["slippage_bps"] == 9.0
    assert "leverage=2.0" in run("replay --config c.yaml --live").err


def test_settings_told_with_one_symbol_are_those_it_trades_by(run: Any, folder: Path) -> None:
    (folder / "e.yaml").write_text(
        CONFIG.replace("ETH: {trade: {", "ETH: {trade: {leverage: 7, sl_atr_mult: 1.5, ")
    )
    eth = run("replay --config e.yaml --symbol ETH")
    assert "[replay] SL=1.5x ATR, TP=3.0x ATR, leverage=7.0, alloc=3.0%\n" in eth.err
    assert "[replay] slippage_bps=9.00\n" in eth.err
    assert json.loads(eth.out)["slippage_bps"] == 9.0
    flagged = run("replay --config e.yaml --symbol ETH --slippage-bps 5")
    assert "[replay] slippage_bps=5.00\n" in flagged.err
    assert json.loads(flagged.out)["slippage_bps"] == 5.0
    for line in ("", "--symbol BTC"):
        said = run(f"replay --config e.yaml {line}")
        assert "[replay] SL=2.0x ATR, TP=3.0x ATR, leverage=3.0, alloc=3.0%\n" in said.err
        assert json.loads(said.out)["slippage_bps"] == 4.0


@pytest.mark.parametrize("command", ["replay", "sweep --sweep-spec spec.yaml"])
def test_layers_of_symbols_that_a_run_has_not_are_told(
    run: Any, folder: Path, command: str
) -> None:
    layers = "symbols:\n  DOGE: {trade: {leverage: 2}}\n  sol: {trade: {leverage: 2}}\n  "
    (folder / "d.yaml").write_text(CONFIG.replace("symbols:\n  ", layers))
    told = (
        "[config] d.yaml: without effect, the run has no such symbol: symbols.DOGE, symbols.sol "
        "(did you mean SOL?)\n"
    )
    said = run(f"{command} --config d.yaml")
    assert (said.code, said.err.count(told)) == (0, 1)
    assert "without effect" not in run(f"{command} --config c.yaml").err
    if command == "replay":
        assert run("replay --config d.yaml --symbol eth").err.count(told) == 1
        for semantics in ("reference", "strict,context=traded"):
            line = f"replay --config d.yaml --symbol eth --semantics {semantics}"
            assert "without effect" not in run(line).err


def test_settings_of_the_portfolio_have_no_effect_under_a_symbol(run: Any, folder: Path) -> None:
    """What strict refuses there, and why."""

    def report(name: str, layer: str) -> Any:
        of_symbol = CONFIG.replace("slippage_bps: 9.0", f"slippage_bps: 9.0, {layer}")
        of_all = CONFIG.replace("tp_atr_mult: 3.0", f"tp_atr_mult: 3.0, {layer}")
        (folder / "s.yaml").write_text(of_all if name == "global" else of_symbol)
        said = run("replay --config s.yaml --semantics strict,config_errors=defaults --trades")
        return json.loads(said.out) | {"run": None}

    plain = report("ETH", "leverage: 3.0")
    values = {
        "trade.max_open_positions": 1,
        "trade.max_total_margin_pct": 0.05,
        "trade.max_entry_orders_per_loop": 0,
    }
    assert set(values) == {path for path in OF_PORTFOLIO if not path.startswith("engine.")}
    for path, value in values.items():
        layer = f"{path.removeprefix('trade.')}: {value}"
        assert report("ETH", layer) == plain
        assert report("global", layer) != plain
        (folder / "s.yaml").write_text(
            CONFIG.replace("ETH: {trade: {", f"ETH: {{trade: {{{layer}, ")
        )
        said = run("replay --config s.yaml")
        assert (said.code, f"symbols.ETH.{path} would have no effect" in said.err) == (2, True)


def test_balances_come_from_flag_file_and_state_in_this_order(run: Any, folder: Path) -> None:
    (folder / "b.json").write_text('{"balance": 700, "else": 1}')
    state = {"version": 1, "source": "x", "exported_at_ms": 0, "balance": 600, "positions": []}
    (folder / "s.json").write_text(json.dumps(state))
    line = "replay --config c.yaml --initial-balance 800"
    assert json.loads(run(line).out)["initial_balance"] == 800.0
    line += " --balance-from b.json"
    said = run(line)
    assert json.loads(said.out)["initial_balance"] == 700.0
    assert '[balance-from] Read balance=$700.00 from "b.json"' in said.err
    assert json.loads(run(f"{line} --init-state s.json").out)["initial_balance"] == 600.0


def test_bounds_in_both_spellings(run: Any) -> None:
    start, end = START_MS + 300 * HOUR_MS, START_MS + 500 * HOUR_MS
    first = run(f"replay --config c.yaml --trades --start-ts {start} --end-ts {end}")
    other = run(f"replay --config c.yaml --trades --from-ts {start} --to-ts {end // 1000}")
    assert first.out == other.out
    times = [trade["timestamp"] for trade in json.loads(first.out)["trades"]]
    assert start <= min(times) <= max(times) <= end


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("replay --config c.yaml --start-ts 1 --from-ts 1", 2, "must not both be given"),
        ("replay --config c.yaml --end-ts soon", 2, "'soon'"),
        ("replay --config c.yaml --end-ts=-5", 1, "--end-ts must lie in"),
        ("replay --config c.yaml --initial-balance nan", 2, "finite"),
        ("replay --config c.yaml --slippage-bps inf", 2, "finite"),
        ("replay --config c.yaml --lookback -1", 2, "--lookback"),
        ("replay --config c.yaml --semantics lax", 2, "strict or reference"),
        ("replay --config c.yaml --strategy none", 2, "mei_alpha, momentum_breakout"),
        ("replay --config none.yaml", 2, "none.yaml does not"),
        ("replay --config c.yaml --symbol XRP", 1, '"XRP" not found'),
        ("replay --config c.yaml --output none/r.json", 1, "none does not"),
        ("replay --config c.yaml --output candles_dbs", 1, "is a directory"),
        ("replay --config c.yaml --candles-db none.db", 1, "none.db"),
        ("replay --config c.yaml --balance-from c.yaml", 1, "must be JSON"),
        ("replay --config c.yaml --init-state c.yaml", 1, "must be JSON"),
        ("replay --config c.yaml extra", 2, "extra"),
        ("sweep --config c.yaml", 2, "--sweep-spec"),
        ("sweep --config c.yaml --sweep-spec none.yaml", 1, "none.yaml"),
        ("sweep --config c.yaml --sweep-spec c.yaml", 1, "a list `axes`"),
        ("sweep --config c.yaml --sweep-spec spec.yaml --device tpu", 2, "auto, cpu, gpu"),
        (
            "sweep --config c.yaml --sweep-spec spec.yaml --gpu --device cpu",
            2,
            "not be given together",
        ),
        (
            "sweep --config c.yaml --sweep-spec spec.yaml --tpe --scheduler local",
            2,
            "a search runs",
        ),
        ("sweep --config c.yaml --sweep-spec spec.yaml --parity-mode x", 2, "production"),
        ("dump-indicators --config c.yaml", 2, "--symbol"),
        ("dump-indicators --config c.yaml --symbol eth", 1, '"eth" not found'),
    ],
)
def test_errors_are_one_line_and_their_exit_code(
    run: Any, line: str, code: int, words: str
) -> None:
    said = run(line)
    assert said.code == code
    assert said.out == ""
    last = said.err.splitlines()[-1]
    assert last.startswith("error: ")
    assert words in last


def test_commands_have_a_version(run: Any) -> None:
    said = run("replay --version")
    assert (said.code, said.err) == (0, "")
    assert said.out == run("--version").out == run("-V").out
    assert "kernels:" in said.out


def test_help_is_a_command_too(run: Any) -> None:
    assert run("help").out == run("--help").out
    assert "--sweep-spec" in run("help sweep").out


def test_a_row_of_a_sweep_is_the_replay_with_its_settings(run: Any, folder: Path) -> None:
    bounds = f"--start-ts {START_MS + 200 * HOUR_MS}"
    said = run(f"sweep {ALL} --sweep-spec spec.yaml --output o.jsonl --top-n 2 {bounds}")
    assert said.code == 0
    rows = rows_of(folder / "o.jsonl")
    assert [row["total_pnl"] for row in rows] == sorted(
        (row["total_pnl"] for row in rows), reverse=True
    )
    by_id = {row["config_id"]: row for row in rows}
    assert {name: row["overrides"] for name, row in by_id.items()} == {
        "sweep_0000": {"trade.sl_atr_mult": 0.3, "indicators.ema_slow_window": 21.0},
        "sweep_0001": {"trade.sl_atr_mult": 0.3, "indicators.ema_slow_window": 34.0},
        "sweep_0002": {"trade.sl_atr_mult": 2.5, "indicators.ema_slow_window": 21.0},
        "sweep_0003": {"trade.sl_atr_mult": 2.5, "indicators.ema_slow_window": 34.0},
    }
    table, survives = said.err.split("--- Does it survive 4 trials")
    assert (table.count("sweep_000"), survives.count("sweep_000")) == (2, 3)
    (folder / "c.yaml").write_text(
        CONFIG.replace("tp_atr_mult", "sl_atr_mult: 0.3, tp_atr_mult").replace(
            "ema_slow_window: 21", "ema_slow_window: 34"
        )
    )
    report = json.loads(run(f"replay {ALL} --lookback 150 {bounds}").out)
    row = by_id["sweep_0001"]
    assert {key: report[key] for key in row if key not in ("config_id", "overrides")} == {
        key: value for key, value in row.items() if key not in ("config_id", "overrides")
    }


def test_reference_sweep_leaves_the_window_aside(run: Any, folder: Path) -> None:
    line = "sweep --config c.yaml --sweep-spec spec.yaml"
    bounds = f"--start-ts {START_MS + 400 * HOUR_MS}"
    run(f"{line} --semantics reference --output a.jsonl")
    run(f"{line} --semantics reference --output b.jsonl {bounds}")
    assert (folder / "a.jsonl").read_bytes() == (folder / "b.jsonl").read_bytes()
    run(f"{line} --output c.jsonl")
    run(f"{line} --output d.jsonl {bounds}")
    assert (folder / "c.jsonl").read_bytes() != (folder / "d.jsonl").read_bytes()


def test_threads_do_not_change_a_sweep(run: Any, folder: Path) -> None:
    for n_threads in (1, 4):
        line = f"sweep --config c.yaml --sweep-config spec.yaml --threads {n_threads}"
        assert f"{n_threads} threads\n" in run(f"{line} --output {n_threads}.jsonl").err
    assert (folder / "1.jsonl").read_bytes() == (folder / "4.jsonl").read_bytes()


def test_paths_that_cannot_be_swept(run: Any, folder: Path) -> None:
    (folder / "spec.yaml").write_text(
        "axes:\n- {path: trade.sl_atr_mul, values: [1, 2]}\n- {path: trade.leverage, values: [3]}\n"
    )
    said = run("sweep --config c.yaml --sweep-spec spec.yaml")
    assert said.code == 2
    assert "did you mean trade.sl_atr_mult?" in said.err
    said = run("sweep --config c.yaml --sweep-spec spec.yaml --semantics reference")
    assert said.code == 0
    assert said.err.count("[sweep] Unknown override path: trade.sl_atr_mul\n") == 2
    rows = rows_of(folder / "sweep_results.jsonl")
    assert [row["config_id"] for row in rows] == ["sweep_0000", "sweep_0001"]
    assert rows[1]["overrides"] == {"trade.leverage": 3.0, "trade.sl_atr_mul": 2.0}


def test_constraints_leave_rows_out_and_names_stay(run: Any, folder: Path) -> None:
    line = "sweep --config c.yaml --sweep-spec spec.yaml"
    run(f"{line} --output all.jsonl")
    constraint = "trade.sl_atr_mult * 10 < indicators.ema_slow_window"
    (folder / "spec.yaml").write_text(f"{SPEC}constraints: [{constraint}]\ninitial_balance: 500\n")
    said = run(f"{line} --output some.jsonl")
    assert said.code == 0
    everything = rows_of(folder / "all.jsonl")
    assert rows_of(folder / "some.jsonl") == [
        row for row in everything if row["config_id"] != "sweep_0002"
    ]
    assert "Generated 3 config combinations across 2 axes (4 less those that break" in said.err
    assert "initial_balance=500 of the spec is not used" in said.err


def test_sweeps_of_nothing(run: Any, folder: Path) -> None:
    line = "sweep --config c.yaml --sweep-spec spec.yaml"
    (folder / "spec.yaml").write_text("axes: []\n")
    assert run(line).code == 0
    assert len(rows_of(folder / "sweep_results.jsonl")) == 1
    (folder / "spec.yaml").write_text("axes: [{path: trade.leverage, values: []}]\n")
    said = run(line)
    assert (said.code, "axes[0].values of a sweep spec must have at least one" in said.err) == (
        2,
        True,
    )
    assert run(f"{line} --semantics reference").code == 0
    assert rows_of(folder / "sweep_results.jsonl") == []


def test_combinations_that_no_strategy_file_may_have_are_refused(run: Any, folder: Path) -> None:
    line = "sweep --config c.yaml --sweep-spec spec.yaml"
    text = "axes:\n- {path: indicators.ema_fast_window, values: [8, 30]}\n"
    (folder / "spec.yaml").write_text(text)
    said = run(line)
    assert said.code == 2
    assert said.err.splitlines()[-1] == (
        "error: spec.yaml: indicators.ema_fast_window must be below indicators.ema_slow_window in every combination, "
        "is not with indicators.ema_fast_window = 30, indicators.ema_slow_window = 21: leave such out, "
        "constraints: [indicators.ema_fast_window < 21]"
    )
    (folder / "spec.yaml").write_text(f"{text}constraints: [indicators.ema_fast_window < 21]\n")
    assert run(line).code == 0
    assert len(rows_of(folder / "sweep_results.jsonl")) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "a list `axes`"),
        ("axes: 3", "a list `axes`"),
        ("axes: [{values: [1]}]", r"axes\[0\] .* `path`"),
        ("axes: [{path: a, values: 1}]", r"axes\[0\] .* list `values`"),
        ("axes: [{path: a, values: [1, true]}]", r"axes\[0\].values\[1\] .* number, was True"),
        ("axes: [{path: a, values: ['1']}]", r"values\[0\] .* number, was '1'"),
        ("axes: []\nlookback: 1.5", "lookback .* whole number"),
        ("axes: []\nlookback: -1", "lookback .* whole number"),
        ("axes: []\ninitial_balance: x", "initial_balance .* number"),
        ("axes: [", "spec.yaml:1"),
    ],
)
def test_wrong_specs_name_the_part(run: Any, folder: Path, text: str, words: str) -> None:
    import re

    (folder / "spec.yaml").write_text(text)
    said = run("sweep --config c.yaml --sweep-spec spec.yaml")
    assert said.code == 1
    assert re.search(words, said.err), said.err


def test_indicators_are_dumped(run: Any, folder: Path) -> None:
    said = run("dump-indicators --config c.yaml --symbol SOL")
    assert said.code == 0
    rows = list(csv.DictReader(said.out.splitlines()))
    assert len(rows) == N_HOURS
    assert list(rows[0])[:3] == ["t", "close", "ema_slow"]
    assert rows[0]["t"] == str(START_MS)
    assert rows[0]["ema_fast"] == rows[0]["close"]
    assert {row["vol_trend"] for row in rows} == {"0", "1"}
    run("dump-indicators --config c.yaml --symbol SOL --output i.csv")
    assert (folder / "i.csv").read_text() == said.out


@pytest.mark.parametrize("line", ["--config c.yaml", ALL])
def test_mei_alpha_goes_on_from_its_state(run: Any, folder: Path, line: str) -> None:
    def trades(report: Any) -> list[Any]:
        return [trade for trade in report["trades"] if trade["reason"] != "End of Backtest"]

    whole = json.loads(run(f"replay {line} --trades").out)
    cut_ms = START_MS + 350 * HOUR_MS
    run(f"replay {line} --end-ts {cut_ms} --export-state s.json --output a.json --trades")
    state = json.loads((folder / "s.json").read_text())
    assert (state["version"], state["source"]) == (2, "mei_alpha")
    assert state["exported_at_ms"] == cut_ms
    first = json.loads((folder / "a.json").read_text())
    still_open = [t for t in first["trades"] if t["reason"] == "End of Backtest"]
    assert [p["symbol"] for p in state["positions"]] == [t["symbol"] for t in still_open]
    for bounds in ("", f"--start-ts {cut_ms + 1}"):
        said = run(f"replay {line} --init-state s.json --trades {bounds}")
        assert said.code == 0
        second = json.loads(said.out)
        assert second["initial_balance"] == state["balance"]
        assert len(trades(first)) > 5
        assert trades(first) + trades(second) == trades(whole)
        assert second["final_balance"] == whole["final_balance"]


def test_a_universe_database_needs_its_filter_in_strict_alone(run: Any) -> None:
    line = "replay --config c.yaml --universe-db none.db"
    assert run(line).code == 2
    assert run(f"{line} --semantics reference").code == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "replay --config c.yaml --exit-interval 1h",
            "--exit-interval must be shorter than the 1h",
        ),
        (
            "replay --config c.yaml --entry-candles-db candles_dbs/candles_1h.db",
            "--entry-interval must be shorter than the 1h",
        ),
        (
            "replay --config c.yaml --initial-balance -5",
            "--initial-balance must be above 0, was -5",
        ),
        ("replay --config c.yaml --slippage-bps -1", "--slippage-bps must be at least 0, was -1"),
        ("sweep --config c.yaml --sweep-spec low.yaml", "axis trade.sl_atr_mult must be above 0"),
    ],
)
def test_strict_refuses_what_a_strategy_file_may_not_have_either(
    run: Any, folder: Path, line: str, words: str
) -> None:
    (folder / "low.yaml").write_text("axes:\n- {path: trade.sl_atr_mult, values: [2.0, -1.0]}\n")
    said = run(line)
    assert said.code == 2
    assert words in said.err
    assert run(f"{line} --semantics reference").code == 0


def test_a_replay_tells_its_fee(run: Any) -> None:
    assert "[replay] fee_bps=3.50 (fixed)\n" in run("replay --config c.yaml").err
