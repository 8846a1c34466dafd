"""replay and sweep of momentum_breakout from the command line: what it reads, and what it refuses to be given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.workflows.command_line import rows_of
from tests.workflows.databases import HOUR_MS, START_MS

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


def test_what_is_open_at_the_end_is_told_of_positions_that_were_brought_along_too(
    run: Any, folder: Path
) -> None:
    (folder / "m.yaml").write_text("momentum_breakout: {lookback: 20, max_hold_bars: 0}\n")
    cut_ms = START_MS + 350 * HOUR_MS
    first = run(f"replay {MOMENTUM} --end-ts {cut_ms} --export-state s.json")
    later = run(
        f"replay {MOMENTUM} --init-state s.json --start-ts {cut_ms + 1} --end-ts {cut_ms + HOUR_MS} --trades"
    )
    assert json.loads(later.out)["trades"] == []
    n_open = len(json.loads((folder / "s.json").read_text())["positions"])
    assert n_open > 0
    report = json.loads(later.out)
    profit_usd = report["final_balance"] - report["initial_balance"]
    assert f"Still open at the end: {n_open} positions" in first.err
    assert (
        f"Still open at the end: {n_open} positions, marked at their last close: {profit_usd:+.2f}"
        in later.err
    )


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
        (
            "cost: {fee_bps: 3}",
            "m.yaml: cost is not a key of momentum_breakout's file: did you mean 'costs'?",
        ),
        ("lookback: 20", "put it under momentum_breakout (momentum_breakout.lookback)"),
        ("fee_bps: 2", "put it under costs (costs.fee_bps)"),
        ("momentum-breakout: {}", "did you mean 'momentum_breakout'?"),
        (
            "mei_alpha: {}\nglobal: {}",
            "global is not a key of momentum_breakout's file: it is of a file of mei_alpha",
        ),
        ("zzz: 1", "there are momentum_breakout, costs"),
    ],
)
def test_wrong_settings_of_momentum_breakout(run: Any, folder: Path, text: str, words: str) -> None:
    (folder / "m.yaml").write_text(text)
    said = run(f"replay {MOMENTUM}")
    assert said.code == 2
    assert words in said.err


def test_momentum_breakout_reads_the_file_of_the_loop(run: Any, folder: Path) -> None:
    (folder / "m.yaml").write_text("mei_alpha: {lookback: 3}\nmomentum_breakout: {lookback: 20}\n")
    assert run(f"replay {MOMENTUM}").code == 0


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("--lookback 200", "--lookback has no effect on momentum_breakout, its signals wait"),
        ("--live", "--live has no effect on momentum_breakout, its file has no live layer"),
        ("--exit-interval 15m", "--exit-interval has no effect on momentum_breakout, it trades bars of one"),
        ("--exit-candles-db candles_dbs/candles_15m.db", "--exit-candles-db has no effect"),
        ("--entry-interval 15m", "--entry-interval has no effect"),
        ("--entry-candles-db candles_dbs/candles_15m.db", "--entry-candles-db has no effect"),
        ("--funding-db candles_dbs/funding_rates.db", "--funding-db has no effect on momentum_breakout, it pays no"),
        ("--universe-db u.db", "--universe-db has no effect without --universe-filter"),
        ("--semantics reference", "--semantics must be strict, if need be with entry_fill, config_errors"),
        ("--semantics reference,entry_fill=next_open", "was bar_time=open, exit_fill=close, "),
        ("--semantics strict,bar_time=open", "(strict,entry_fill=signal_close), was bar_time=open\n"),
    ],
)  # fmt: skip
def test_flags_without_effect_on_momentum_breakout(
    run: Any, folder: Path, flags: str, words: str
) -> None:
    (folder / "m.yaml").write_text("momentum_breakout: {lookback: 20}\n")
    commands = ["replay", "sweep --sweep-spec spec.yaml"]
    for command in commands[: 1 if "lookback" in flags else 2]:
        said = run(f"{command} {MOMENTUM} {flags}")
        assert (said.code, words in said.err) == (2, True)
        assert len([line for line in said.err.splitlines() if line.startswith("error")]) <= 1


def test_switches_that_momentum_breakout_knows(run: Any, folder: Path) -> None:
    (folder / "m.yaml").write_text("momentum_breakout: {lookback: 20}\n")
    line = f"replay {MOMENTUM} --trades --export-trades"
    at_open = json.loads(run(f"{line} a.csv").out)
    at_close = json.loads(run(f"{line} b.csv --semantics strict,entry_fill=signal_close").out)
    assert at_open["trades"] != at_close["trades"]
    assert run(f"{line} c.csv --semantics strict,trade_ids=repeat").code == 0
    assert (folder / "a.csv").read_text() != (folder / "c.csv").read_text()
