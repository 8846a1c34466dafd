"""A real sweep, deployed: the replay of the deployed file is the row, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mei.cli import main
from tests.deploy.desk import Desk
from tests.workflows.databases import HOUR_MS, write_candles

BASE = """\
# Swept and deployed.
global:
  trade: {entry_min_confidence: low, tp_atr_mult: 3.0, slippage_bps: 4.0}  # costs
  indicators: {ema_fast_window: 8, ema_slow_window: 21, ema_macro_window: 60}
  filters: {enable_ranging_filter: false, require_btc_alignment: false}
  thresholds:
    entry: {min_adx: 12.0, max_dist_ema_fast: 0.2}
symbols:
  ETH: {trade: {sl_atr_mult: 9.0, leverage: 2.0}}
"""
SPEC = """
axes:
- {path: trade.sl_atr_mult, values: [0.3, 2.5]}
- {path: indicators.ema_slow_window, values: [21, 34]}
- {path: thresholds.entry.macd_hist_entry_mode, values: [1, 2]}
- {path: trade.entry_min_confidence, values: [0, 1]}
- {path: trade.enable_pyramiding, values: [0, 1]}
- {path: trade.entry_cooldown_s, values: [0, 7200]}
lookback: 200
"""


@pytest.fixture(name="swept")
def _swept(desk: Desk) -> Desk:
    """A folder with the rows of a sweep over the strategy file, counted in a ledger."""
    desk.path.write_text(BASE)
    write_candles(desk.folder, "1h", HOUR_MS, 500)
    (desk.folder / "spec.yaml").write_text(SPEC)
    sweep = "sweep --config config/strategy_overrides.yaml --sweep-spec spec.yaml --output"
    assert main.run([*sweep.split(), "rows.jsonl"]) == 0
    return desk


def replayed(desk: Desk, row: dict[str, object]) -> dict[str, object]:
    """Those numbers of a replay of the strategy file that the row has, too."""
    line = "replay --config config/strategy_overrides.yaml --lookback 200 --output report.json"
    assert main.run(line.split()) == 0
    report = json.loads((desk.folder / "report.json").read_text())
    return {name: report[name] for name in row if name not in ("config_id", "overrides")}


@pytest.mark.parametrize("kind", ["jsonl", "pairs", "parquet"])
def test_the_replay_is_the_row(swept: Desk, kind: str) -> None:
    lines = (swept.folder / "rows.jsonl").read_text().splitlines()
    results = "rows.jsonl"
    if kind == "pairs":
        pairs = [
            {**row, "overrides": [[path, value] for path, value in row["overrides"].items()]}
            for row in map(json.loads, lines)
        ]
        swept.rows(*pairs)
    elif kind == "parquet":
        pytest.importorskip("pyarrow")
        results = "rows.parquet"
        line = f"sweep --config config/strategy_overrides.yaml --sweep-spec spec.yaml --output {results}"
        assert main.run(line.split()) == 0
    for rank in (1, 30, 64):
        row = json.loads(lines[rank - 1])
        assert swept.run(f"--yes --rank {rank}", results=results) == 0
        expected = {name: row[name] for name in row if name not in ("config_id", "overrides")}
        assert replayed(swept, row) == expected
        assert "is another file" not in swept.err
    assert json.loads(lines[0])["total_trades"] > 3
    assert "# costs" in swept.path.read_text()


def test_another_file_than_the_one_swept_is_told(swept: Desk) -> None:
    swept.path.write_text(BASE.replace("min_adx: 12.0", "min_adx: 13.0"))
    assert swept.run("--dry-run") == 0
    assert "warning: the sweep was of config/strategy_overrides.yaml as it was with config_id" in (
        swept.err
    )


def test_a_path_that_only_the_axes_changed_is_the_same_file(swept: Desk) -> None:
    (swept.folder / "base.yaml").write_text(BASE)
    swept.path.write_text(BASE.replace("ema_slow_window: 21", "ema_slow_window: 55"))
    assert swept.run("--dry-run") == 0
    assert "is another file" in swept.err  # nothing is left of the file that was swept
    Path(f"{swept.path}.bak.1").write_text(BASE)
    assert swept.run("--dry-run") == 0
    assert "is another file" not in swept.err
