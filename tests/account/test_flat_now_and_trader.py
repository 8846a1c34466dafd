"""flat_now against a paper trader that is at work: what it held is closed, and it goes on flat and paused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.paper_trader.desk import Desk
from tests.paper_trader.market import make_market
from tests.tools.loading import exit_code, tool


@pytest.mark.slow
def test_a_trader_goes_on_flat_and_opens_nothing(tmp_path: Path) -> None:
    pause = tmp_path / "pause"
    desk = Desk(tmp_path, make_market(tmp_path / "databases", 21, 150), pause_file=str(pause))
    desk.open()
    stops = list(desk.boundaries())
    while len(desk.state().held()) < 2:
        desk.advance(stops.pop(0))
    held = sorted(desk.state().held())
    n_before = len(desk.rows())
    flags = f"--kill-file {pause} --yes --reason storm --paper-db {desk.request.db}"
    assert exit_code(tool("flat_now"), flags.split()) == 0

    rows = desk.rows()[n_before:]
    assert [(row.symbol, row.type, row.action, row.reason) for row in rows] == [
        (symbol, "SYSTEM", "CLOSE", "storm") for symbol in held
    ]
    assert all((row.price or 0) > 0 and (row.size or 0) > 0 for row in rows)
    assert all(json.loads(row.meta_json or "")["flat_now"] is True for row in rows)
    assert desk.state().held() == {}
    desk.restart()
    half = len(stops) // 2
    desk.through(stops[:half])
    assert len(desk.rows()) == n_before + len(held)
    assert desk.state().held() == {}

    # Paused, not broken: without the file it trades on.
    pause.unlink()
    desk.through(stops[half:])
    assert len(desk.rows()) > n_before + len(held)
