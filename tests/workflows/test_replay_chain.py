"""What a replay says it is of, and what a chain of replays carries from one to the next, from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mei.cli import main
from mei.data.config_id import config_id
from mei.model.yaml12 import load_yaml
from tests.workflows.databases import HOUR_MS, START_MS, write_candles

N_HOURS = 500
CUT_MS = START_MS + 330 * HOUR_MS
CONFIG = """
global:
  trade: {entry_min_confidence: low, tp_atr_mult: 3.0, slippage_bps: 4.0, enable_partial_tp: true}
  indicators: {ema_fast_window: 8, ema_slow_window: 21, ema_macro_window: 60}
  filters: {enable_ranging_filter: false, require_btc_alignment: false}
  thresholds: {entry: {min_adx: 12.0, max_dist_ema_fast: 0.2, macd_hist_entry_mode: none}}
"""
MEI_ALPHA = "--config c.yaml --lookback 100"
MOMENTUM = "--strategy momentum_breakout --config m.yaml"
BOTH = pytest.mark.parametrize("line", [MEI_ALPHA, MOMENTUM])

Said = tuple[int, str, str]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Databases for all tests; nothing is written to them."""
    folder = tmp_path_factory.mktemp("market")
    write_candles(folder, "1h", HOUR_MS, N_HOURS, symbols=("BTC", "ETH", "SOL"))
    return folder


@pytest.fixture
def folder(market: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the databases and a file for each strategy."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "candles_dbs").symlink_to(market / "candles_dbs")
    (tmp_path / "c.yaml").write_text(CONFIG)
    (tmp_path / "m.yaml").write_text("momentum_breakout: {lookback: 20, max_hold_bars: 30}\n")
    return tmp_path


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], Said]:
    """Run a command line given as one text: its exit code and both streams."""

    def command(line: str) -> Said:
        capsys.readouterr()
        code = main.run(line.split())
        out, err = capsys.readouterr()
        assert "(a defect" not in err
        return code, out, err

    return command


def csv_rows(path: Path) -> list[str]:
    """Rows of a trade CSV that more than the end of the run closed."""
    return [line for line in path.read_text().splitlines()[1:] if "End of Backtest" not in line]


def drawdown(curve: list[list[float]], peak: float) -> tuple[float, float]:
    """The largest falls of a curve from the peaks it has and from `peak`."""
    usd = frac = 0.0
    for _, value in curve:
        peak = max(peak, value)
        usd, frac = max(usd, peak - value), max(frac, (peak - value) / peak)
    return usd, frac


@BOTH
def test_a_chain_of_three_is_the_whole(run: Any, folder: Path, line: str) -> None:
    """Rows, ids and excursions of the trade CSV, and the drawdown; the state is continued in place."""
    _, out, _ = run(f"replay {line} --equity-curve --export-trades whole.csv")
    whole = json.loads(out)["equity_curve"]
    rows: list[str] = []
    state, n_brought = "", 0
    for number, end in enumerate((f"--end-ts {CUT_MS}", f"--end-ts {CUT_MS + 80 * HOUR_MS}", "")):
        _, out, err = run(
            f"replay {line} {end} {state} --equity-curve --export-trades {number}.csv --export-state s.json"
        )
        part = json.loads(out)
        before = [point for point in whole if point[0] < part["equity_curve"][0][0]]
        peak = max((value for _, value in before), default=0.0)
        assert (part["max_drawdown_usd"], part["max_drawdown_pct"]) == drawdown(
            part["equity_curve"], peak
        )
        told = f"Continued run:     drawdown from the highest equity so far, before the cut ${peak:.2f};"
        assert (told in err) == (number > 0)
        assert part["run"]["scope"].startswith("the continued part" if number else "the whole run")
        rows += csv_rows(folder / f"{number}.csv")
        state = "--init-state s.json"
        n_brought += len(json.loads((folder / "s.json").read_text())["positions"])
    assert rows == csv_rows(folder / "whole.csv")
    assert len(rows) > 8
    assert n_brought > 2


@BOTH
def test_a_state_shows_the_cash_and_what_is_held(run: Any, folder: Path, line: str) -> None:
    _, out, _ = run(f"replay {line} --end-ts {CUT_MS} --export-state s.json --trades")
    state = json.loads((folder / "s.json").read_text())
    trades = [one for one in json.loads(out)["trades"] if one["reason"] != "End of Backtest"]
    assert state["exported_at_ms"] == CUT_MS
    assert state["balance"] == trades[-1]["balance"]
    size: dict[str, float] = {}
    for one in trades:
        kind, _, side = one["action"].partition("_")
        sign = {"OPEN": 1.0, "ADD": 1.0}.get(kind, -1.0) * (1.0 if side == "LONG" else -1.0)
        size[one["symbol"]] = size.get(one["symbol"], 0.0) + sign * one["size"]
    held = {
        one["symbol"]: one["size"] * (1.0 if one["side"] == "long" else -1.0)
        for one in state["positions"]
    }
    assert held == pytest.approx({name: left for name, left in size.items() if abs(left) > 1e-9})
    assert held
    assert state["continuation"]["equity_peak_usd"] >= 10_000.0


def refused(run: Any, folder: Path, line: str, state: Any) -> str:
    """The last line of a run that refuses a state."""
    (folder / "changed.json").write_text(json.dumps(state))
    code, out, err = run(f"replay {line} --init-state changed.json")
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    assert last.startswith("error: changed.json: ")
    return str(last)


CHANGES = {
    "balance": (lambda state: state.update(balance=1.0), "balance must be "),
    "position": (
        lambda state: state["positions"][0].update(size=1.0),
        "must be that of its continuation, is not",
    ),
    "one less": (
        lambda state: state["positions"].pop(),
        "must be that of its continuation, is not",
    ),
    "side": (
        lambda state: state["positions"][0].update(side="up"),
        'must be one of long, short, is "up"',
    ),
    "peak": (
        lambda state: state["continuation"].update(equity_peak_usd="high"),
        "must be as --export-state wrote it",
    ),
    "no peak": (
        lambda state: state["continuation"].pop("equity_peak_usd"),
        "must be as --export-state wrote it",
    ),
    "open trades": (
        lambda state: state["continuation"].pop("open_trades"),
        "open_trades of its continuation is not: KeyError",
    ),
}


@BOTH
def test_states_that_do_not_agree_with_themselves_are_refused(
    run: Any, folder: Path, line: str
) -> None:
    run(f"replay {line} --end-ts {CUT_MS} --export-state s.json")
    text = (folder / "s.json").read_text()
    for change, words in CHANGES.values():
        state = json.loads(text)
        change(state)
        assert words in refused(run, folder, line, state)


#: The first symbol that is held.
HELD = "held"


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("account", "balance_usd"), "x", "account.balance_usd must be a number"),
        (("account", "n_positions"), -1, "must be finite and a count not negative"),
        (("symbols", HELD, "slot", "side"), 2, "must be -1, 0 or 1"),
        (("symbols", HELD, "slot", "qty"), "nan", "numbers of the slot must be finite"),
        (("symbols", HELD, "slot", "confidence"), 9, "confidence of the slot"),
        (("symbols", HELD, "slot", "entry_px"), 1.0, "must be that of its continuation, is not"),
        (("symbols", HELD, "n_bars"), 1, "n_bars must count the 5 bars kept, is 1"),
        (("symbols", HELD, "bars", "open_ms"), [5, 4, 3, 2, 1], "open_ms of the bars must ascend"),
        (("symbols", HELD, "bars", "close"), [1.0], "must be of one length"),
        (("symbols", HELD, "bank"), [[1.0]], "bank must have"),
        (("symbols",), 3, "its continuation is not: AttributeError"),
        (("as_of_ms",), None, "its continuation is not: TypeError"),
    ],
)
def test_continuations_that_no_run_left_are_refused(
    run: Any, folder: Path, path: tuple[str, ...], value: Any, words: str
) -> None:
    run(f"replay {MEI_ALPHA} --end-ts {CUT_MS} --export-state s.json")
    state = json.loads((folder / "s.json").read_text())
    held = state["positions"][0]["symbol"]
    node = state["continuation"]
    for name in path[:-1]:
        node = node[held if name == HELD else name]
    node[path[-1]] = value
    assert words in refused(run, folder, MEI_ALPHA, state)


def version_1(folder: Path, **change: Any) -> None:
    """A state of version 1 with a position of BTC."""
    held = {
        **{"symbol": "BTC", "side": "long", "size": 1.0, "entry_price": 100.0, "entry_atr": 1.0},
        **{"confidence": "high", "leverage": 1.0, "margin_used": 100.0, "open_time_ms": 5},
    }
    state = {"version": 1, "source": "paper", "exported_at_ms": 7, "balance": 500.0}
    (folder / "s.json").write_text(json.dumps({**state, "positions": [held | change]}))


@BOTH
def test_positions_of_version_1(run: Any, folder: Path, line: str) -> None:
    line = f"replay {line} --init-state s.json"
    version_1(folder)
    code, out, err = run(f"{line} --export-trades t.csv")
    assert code == 0
    assert "[init-state] Version 1 tells no peak of the equity, no trade ids" in err
    first = (folder / "t.csv").read_text().splitlines()[1].split(",")
    assert first[:3] + first[4:7] == ["1:1", "1", "5", "BTC", "LONG", "100.00000000"]
    assert json.loads(out)["run"]["init_state"]["version"] == 1
    assert json.loads(out)["run"]["scope"] == "the whole run"
    version_1(folder, size=-1.0)
    code, _, err = run(line)
    assert code == 1
    words = "error: s.json: size of positions[0] (BTC) must be above 0, is -1.0; correct it\n"
    assert err.endswith(words)
    if "momentum" not in line:
        assert run(f"{line} --semantics reference")[0] == 0


def test_a_report_says_what_it_is_of(run: Any, folder: Path) -> None:
    start_ms = START_MS + 200 * HOUR_MS
    line = f"replay {MEI_ALPHA} --start-ts {start_ms} --symbol ETH --slippage-bps 7 --initial-balance 800"
    _, out, err = run(line)
    told = json.loads(out)["run"]
    assert len(told.pop("kernels")) > 8
    git = told.pop("git")
    id_of_config = config_id(load_yaml(folder / "c.yaml"))
    end_ms = START_MS + N_HOURS * HOUR_MS
    assert told == {
        "version": "0.1.0",
        "strategy": "mei_alpha",
        "semantics": "strict",
        "config": {"path": "c.yaml", "config_id": id_of_config, "live": False},
        "candles": {
            "main": {"interval": "1h", "db": "candles_dbs/candles_1h.db"},
            "exit": None,
            "entry": None,
        },
        "funding_db": None,
        "universe_filter": False,
        "symbols": {"loaded": 3, "traded": 1},
        "window": {
            "from_ms": start_ms,
            "to_ms": end_ms,
            "from": "2025-06-09T08:00:00.000Z",
            "to": "2025-06-21T20:00:00.000Z",
        },
        "lookback": 100,
        "initial_balance_usd": 800.0,
        "slippage_bps": 7.0,
        "init_state": None,
        "scope": "the whole run",
    }
    assert (
        f"\n[replay] Run: mei_alpha strict, config c.yaml ({id_of_config[:12]}), 1h, 3 symbols (1 traded), "
        "2025-06-09T08:00:00.000Z..2025-06-21T20:00:00.000Z, lookback 100, balance 800.00 USD, "
        f"slippage 7.00 bps, no init-state, v0.1.0 git:{git}\n"
    ) in err


def test_the_reports_of_reference_stay_as_they_are(run: Any) -> None:
    def told(semantics: str) -> Any:
        _, out, err = run(f"replay {MEI_ALPHA} --semantics {semantics}")
        assert f"[replay] Run: mei_alpha {semantics}, config c.yaml (" in err
        return json.loads(out).get("run", {}).get("semantics")

    assert told("reference") is None
    assert told("strict,exit_fill=close") == "strict,exit_fill=close"


def test_a_strategy_without_a_file_has_no_config_id(run: Any) -> None:
    _, out, err = run("replay --strategy momentum_breakout")
    assert json.loads(out)["run"]["config"]["config_id"] is None
    assert "config strategy_overrides.yaml (no file)" in err


def test_momentum_breakout_counts_its_signals(run: Any) -> None:
    _, out, err = run(f"replay {MOMENTUM}")
    report = json.loads(out)
    gates = report["gate_stats"]
    assert gates["total_checks"] == 3 * N_HOURS
    assert gates["signals_generated"] == report["total_signals"] > 10
    assert f"  Signals generated:    {report['total_signals']} (" in err


@pytest.mark.parametrize("flag", ["--output", "--export-trades", "--export-state"])
def test_outputs_are_checked_before_the_work(run: Any, folder: Path, flag: str) -> None:
    for path in (".", "none/x"):
        code, _, err = run(f"replay {MEI_ALPHA} {flag} {path}")
        assert code == 1
        assert "[replay]" not in err
        assert f"error: {path} must be " in err


@pytest.mark.parametrize("balance", [0, -3])
def test_strict_wants_a_balance(run: Any, folder: Path, balance: int) -> None:
    (folder / "b.json").write_text(json.dumps({"balance": balance}))
    for flags in (f"--initial-balance={balance}", "--balance-from b.json"):
        code, out, err = run(f"replay {MEI_ALPHA} {flags}")
        assert (code, out) == (2, "")
        assert f"must be above 0, was {balance}" in err
        assert run(f"replay {MEI_ALPHA} {flags} --semantics reference")[0] == 0
