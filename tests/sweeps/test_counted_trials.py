"""Which sweeps count against one another, and whether a user is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mei.cli import main
from tests.sweeps.markets import write_market
from tests.workflows.databases import HOUR_MS, write_candles

LINE = ["sweep", "--config", "c.yaml", "--sweep-spec", "one.yaml", "--output", "p.jsonl"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with BTC, ETH and SOL, and other markets below it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LEDGER_DB", raising=False)
    write_market(tmp_path)
    (tmp_path / "one.yaml").write_text("axes: [{path: trade.sl_atr_mult, values: [1, 2, 3, 9]}]")
    write_candles(tmp_path / "sol", "1h", HOUR_MS, 400, symbols=("SOL",))
    write_candles(tmp_path / "slow", "4h", 4 * HOUR_MS, 200, symbols=("SOL", "XRP"))
    write_candles(tmp_path / "doge", "1h", HOUR_MS, 400, symbols=("DOGE",))
    return tmp_path


def said_of(capsys: Any, *more: str, market: str = "", interval: str = "1h") -> str:
    """What the sweep of one market tells."""
    of = ["--candles-db", f"{market}candles_dbs/candles_{interval}.db", "--interval", interval]
    assert main.run([*LINE, *of, *more]) == 0
    return str(capsys.readouterr().err)


def test_fewer_symbols_and_another_interval_start_no_new_count(folder: Path, capsys: Any) -> None:
    said_of(capsys)
    said = said_of(capsys, market="sol/")
    assert "survive 8 trials" in said
    ledger = folder / "shared/manifest.sqlite"
    assert f"[sweep] Counted: trials of 2 sweeps over BTC, ETH, SOL in {ledger}\n" in said
    assert "trials of this sweep alone over DOGE in" in said_of(capsys, market="doge/")
    said = said_of(capsys, market="slow/", interval="4h")
    assert "survive 12 trials" in said
    assert "trials of 3 sweeps over BTC, ETH, SOL, XRP in" in said


def test_a_ledger_that_was_not_there_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    made = "a ledger made by this sweep: what was tried before is not in it\n"
    ledger = folder / "shared/manifest.sqlite"
    alone = f"[sweep] Counted: trials of this sweep alone over BTC, ETH, SOL in {ledger}"
    assert f"{alone}, {made}" in said_of(capsys)
    assert f"{alone}\n" in said_of(capsys)
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    above = ["--config", "../c.yaml", "--sweep-spec", "../one.yaml"]
    said = said_of(capsys, *above, market="../sol/")
    assert f"in {folder}/elsewhere/shared/manifest.sqlite, {made}" in said
    said = said_of(capsys, *above, "--ledger", "none", market="../sol/")
    assert "[sweep] No ledger counts trials" in said
