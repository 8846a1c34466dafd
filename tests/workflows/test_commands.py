"""replay, sweep and dump-indicators from the command line, over made-up candles."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from mei.cli import main
from tests.workflows.databases import HOUR_MS, START_MS, write_candles, write_funding

N_HOURS = 700
CONFIG = """
global:
  trade: {entry_min_confidence: low, tp_atr_mult: 3.0, slippage_bps: 4.0}
  indicators: {ema_fast_window: 8, ema_slow_window: 21, ema_macro_window: 60}
  filters: {enable_ranging_filter: false, require_btc_alignment: false}
  thresholds: {entry: {min_adx: 12.0, max_dist_ema_fast: 0.2, macd_hist_entry_mode: none}}
symbols:
  ETH: {trade: {slippage_bps: 9.0}}
live: {trade: {leverage: 2.0}}
"""
SPEC = """
axes:
- {path: trade.sl_atr_mult, values: [0.3, 2.5]}
- {path: indicators.ema_slow_window, values: [21, 34]}
lookback: 150
"""


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Databases for all tests; nothing is written to them."""
    folder = tmp_path_factory.mktemp("market")
    write_candles(folder, "1h", HOUR_MS, N_HOURS, symbols=("BTC", "ETH", "SOL"))
    write_candles(folder, "15m", HOUR_MS // 4, N_HOURS * 4, symbols=("BTC", "ETH", "SOL"))
    write_funding(folder, N_HOURS)
    return folder


@pytest.fixture
def folder(market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the databases and a strategy file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "candles_dbs").symlink_to(market / "candles_dbs")
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path


class Said:
    """What the program said: its exit code and both streams."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command line given as one text."""

    def command(line: str) -> Said:
        capsys.readouterr()
        code = main.run(line.split())
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        assert "(a defect" not in err
        return Said(code, out, err)

    return command


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
        ("replay --config c.yaml --output candles_dbs", 1, "Is a directory"),
        ("replay --config c.yaml --candles-db none.db", 1, "none.db"),
        ("replay --config c.yaml --balance-from c.yaml", 1, "must be JSON"),
        ("replay --config c.yaml --init-state c.yaml", 1, "must be JSON"),
        ("replay --config c.yaml extra", 2, "extra"),
        ("sweep --config c.yaml", 2, "--sweep-spec"),
        ("sweep --config c.yaml --sweep-spec none.yaml", 1, "none.yaml"),
        ("sweep --config c.yaml --sweep-spec c.yaml", 1, "a list `axes`"),
        ("sweep --config c.yaml --sweep-spec spec.yaml --gpu", 1, "--gpu must be left out"),
        ("sweep --config c.yaml --sweep-spec spec.yaml --tpe", 1, "--tpe must be left out"),
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


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The rows of a sweep."""
    return [json.loads(line) for line in path.read_text().splitlines()]


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
    assert said.err.count("sweep_000") == 2
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


@pytest.mark.parametrize(
    ("axes", "n_rows"), [("[]", 1), ("[{path: trade.leverage, values: []}]", 0)]
)
def test_sweeps_of_nothing(run: Any, folder: Path, axes: str, n_rows: int) -> None:
    (folder / "spec.yaml").write_text(f"axes: {axes}\n")
    assert run("sweep --config c.yaml --sweep-spec spec.yaml").code == 0
    assert len(rows_of(folder / "sweep_results.jsonl")) == n_rows


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


MOMENTUM = "--strategy momentum_breakout --config m.yaml"


def test_momentum_breakout_goes_on_from_its_state(run: Any, folder: Path) -> None:
    (folder / "m.yaml").write_text(
        "momentum_breakout: {lookback: 20, max_hold_bars: 9, stop_bps: 100.0}\ncosts: {fee_bps: 3.0}\n"
    )
    whole = json.loads(run(f"replay {MOMENTUM} --trades").out)
    cut_ms = START_MS + 350 * HOUR_MS
    run(f"replay {MOMENTUM} --end-ts {cut_ms} --export-state s.json --output a.json --trades")
    said = run(f"replay {MOMENTUM} --init-state s.json --start-ts {cut_ms + 1} --trades")
    first, second = json.loads((folder / "a.json").read_text()), json.loads(said.out)
    assert len(first["trades"]) > 5
    assert first["trades"] + second["trades"] == whole["trades"]
    assert second["final_balance"] == whole["final_balance"]
    assert second["initial_balance"] == first["final_balance"]
    codes = {trade["reason"]: trade["reason_code"] for trade in whole["trades"]}
    assert codes["stop"] == "exit_stop_loss"


def test_momentum_breakout_is_swept(run: Any, folder: Path) -> None:
    (folder / "m.yaml").write_text("momentum_breakout: {max_hold_bars: 9}\n")
    (folder / "spec.yaml").write_text(
        "axes:\n- {path: momentum_breakout.lookback, values: [10, 20]}\n- {path: allow_short, values: [0, 1]}\n"
    )
    assert run(f"sweep {MOMENTUM} --sweep-spec spec.yaml").code == 0
    rows = rows_of(folder / "sweep_results.jsonl")
    assert len({row["total_trades"] for row in rows}) > 2
    (folder / "spec.yaml").write_text("axes:\n- {path: lookbak, values: [1]}\n")
    said = run(f"sweep {MOMENTUM} --sweep-spec spec.yaml")
    assert said.code == 2
    assert "did you mean lookback?" in said.err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "must be a mapping"),
        ("momentum_breakout: 3", "momentum_breakout must be a mapping"),
        ("momentum_breakout: {lookbak: 3}", "did you mean 'lookback'"),
        ("costs: {fee: 3}", "costs must be given settings it knows"),
    ],
)
def test_wrong_settings_of_momentum_breakout(run: Any, folder: Path, text: str, words: str) -> None:
    (folder / "m.yaml").write_text(text)
    said = run(f"replay {MOMENTUM}")
    assert said.code == 2
    assert words in said.err


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


@pytest.mark.parametrize(
    ("asked", "semantics", "traded"),
    [
        ("kPEPE", "strict", "kPEPE"),
        ("kPEPE", "strict,symbol_layer=alone", "kPEPE"),
        ("kPEPE", "reference", "KPEPE"),
        ("KPEPE", "strict", "KPEPE"),
        ("eth", "strict", "ETH"),
        ("eth", "strict,symbol_layer=alone", "ETH"),
        ("eth", "reference", "ETH"),
        ("Kpepe", "strict", "KPEPE"),
    ],
)
def test_symbol_is_taken_as_written_where_there_is_such_a_one(
    run: Any, tmp_path: Path, asked: str, semantics: str, traded: str
) -> None:
    write_candles(tmp_path / "k", "1h", HOUR_MS, 400, symbols=("ETH", "KPEPE", "kPEPE"))
    bps = "\n".join(
        f"  {name}: {{trade: {{slippage_bps: {value}}}}}"
        for name, value in (("ETH", 9.0), ("KPEPE", 11.0), ("kPEPE", 13.0))
    )
    (tmp_path / "k.yaml").write_text(f"{CONFIG.split('symbols:')[0]}symbols:\n{bps}\n")
    line = "replay --config k.yaml --candles-db k/candles_dbs/candles_1h.db"
    said = run(f"{line} --symbol {asked} --semantics {semantics}")
    assert said.code == 0
    assert f'symbol=Some("{traded}")' in said.err
    report = json.loads(said.out)
    assert set(report["per_symbol"]) == {traded}
    if semantics != "strict":
        assert report["slippage_bps"] == {"ETH": 9.0, "KPEPE": 11.0, "kPEPE": 13.0}[traded]


def test_symbol_of_another_interval_alone_is_not_taken_as_written(run: Any, tmp_path: Path) -> None:
    hours = write_candles(tmp_path / "a", "1h", HOUR_MS, 400, symbols=("KPEPE",))
    days = write_candles(tmp_path / "b", "1d", 24 * HOUR_MS, 30, symbols=("kPEPE",))
    said = run(f"replay --config c.yaml --candles-db {hours},{days} --symbol kPEPE")
    assert set(json.loads(said.out)["per_symbol"]) == {"KPEPE"}
