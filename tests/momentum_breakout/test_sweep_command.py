"""`mei-backtester sweep --strategy momentum_breakout`: a line of its file is the report of `replay`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mei.cli import main
from tests.workflows.databases import HOUR_MS, write_candles

SPEC = """
axes:
- {path: max_hold_bars, values: [0, 9]}
- {path: lookback, values: [5, 20]}
- {path: momentum_breakout.breakout_bps, values: [0, 30]}
- {path: allow_short, values: [0, 1]}
- {path: stop_bps, values: [0, 150]}
"""


@pytest.mark.parametrize("symbols", [("ETH",), ("BTC", "ETH")])
def test_a_line_is_the_report_of_a_replay(
    symbols: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One symbol, by leaps, and several."""
    monkeypatch.chdir(tmp_path)
    write_candles(tmp_path, "1h", HOUR_MS, 400, symbols=symbols)
    settings: dict[str, Any] = {"take_profit_bps": 200.0}
    costs = {"fee_bps": 3.0, "slippage_bps": 1.5}
    Path("spec.yaml").write_text(SPEC)

    def run(command: str, params: dict[str, Any]) -> str:
        Path("m.yaml").write_text(json.dumps({"momentum_breakout": params, "costs": costs}))
        capsys.readouterr()
        line = f"{command} --strategy momentum_breakout --config m.yaml"
        assert main.run(line.split()) == 0
        return capsys.readouterr().out

    run("sweep --sweep-spec spec.yaml --output rows.jsonl", settings)
    rows = [json.loads(line) for line in Path("rows.jsonl").read_text().splitlines()]
    assert len(rows) == 32
    assert len({row["total_pnl"] for row in rows}) > 20
    for row in rows[::3]:
        swept = {path.rpartition(".")[2]: value for path, value in row["overrides"].items()}
        swept["allow_short"] = swept["allow_short"] != 0
        whole = {name: int(swept[name]) for name in ("lookback", "max_hold_bars")}
        report = json.loads(run("replay", {**settings, **swept, **whole}))
        for name in set(row) - {"config_id", "overrides"}:
            assert row[name] == report[name], name
