"""The trader notes which pause file it watches, and flat_now says where that is another one than it writes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mei.data.trading_db import open_trading_db, read_trader_state, write_trader_state, writing
from mei.workflows.account.flat_now import FlatRequest, flat_now
from tests.paper_trader.desk import Desk, nothing
from tests.paper_trader.market import make_market
from tests.paper_trader.test_export import foreign, row
from tests.paper_trader.test_flatten import holding


def watching(folder: Path, pause_file: str | None) -> Desk:
    desk = Desk(folder, make_market(folder / "databases", 71, 70), pause_file=pause_file)
    desk.open()
    return desk


def noted(desk: Desk) -> object:
    with open_trading_db(desk.request.db, create=False, read_only=True) as conn:
        return (read_trader_state(conn) or {}).get("pause_file")


def said(db: str, pause_file: Path | None) -> list[str]:
    """What flat_now says beside its usual lines."""
    lines: list[str] = []
    request = FlatRequest(
        pause_file=None if pause_file is None else str(pause_file),
        paper_db=db,
        paper_db_is_named=True,
    )
    assert flat_now(request, now_ms=lambda: 0, sleep=lambda _: None, say=lines.append, tell=nothing)
    return [line for line in lines if "WARNING" in line]


def test_the_file_is_noted_as_an_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    desk = watching(tmp_path, "stop/pause")
    path = str(tmp_path / "stop" / "pause")
    (started,) = desk.audits("STARTED")
    assert started.data["pause_file"] == path
    assert noted(desk) == path
    desk.advance(desk.start_ms + desk.step_ms)
    assert noted(desk) == path


def test_another_file_is_noted_at_the_next_start(tmp_path: Path) -> None:
    desk = watching(tmp_path, str(tmp_path / "a"))
    for _ in range(2):
        desk.restart(pause_file=str(tmp_path / "b"))
        desk.trader.open(desk.start_ms)
    desk.restart(pause_file=None)
    desk.trader.open(desk.start_ms)
    assert noted(desk) == ""
    assert [one.data for one in desk.audits("PAUSE_FILE_CHANGED")] == [
        {"from": str(tmp_path / "a"), "to": str(tmp_path / "b")},
        {"from": str(tmp_path / "b"), "to": ""},
    ]


def test_flat_now_says_nothing_where_the_trader_watches_the_file_it_writes(tmp_path: Path) -> None:
    desk = watching(tmp_path, str(tmp_path / "pause"))
    assert said(desk.request.db, tmp_path / "pause") == []
    # The same file by another name, and none at all.
    (tmp_path / "link").symlink_to(tmp_path, target_is_directory=True)
    assert said(desk.request.db, tmp_path / "link" / "pause") == []
    assert said(desk.request.db, None) == []


def test_a_folder_that_is_mounted_elsewhere_is_the_same(tmp_path: Path) -> None:
    desk = watching(tmp_path, str(tmp_path / "pause"))
    # As the trader in a container sees its folder.
    with open_trading_db(desk.request.db, create=False) as conn, writing(conn):
        content = read_trader_state(conn) or {}
        write_trader_state(conn, content | {"pause_file": "/results/pause"})
    assert said(desk.request.db, tmp_path / "pause") == []
    assert len(said(desk.request.db, tmp_path / "other")) == 1
    (tmp_path / "elsewhere").mkdir()
    assert len(said(desk.request.db, tmp_path / "elsewhere" / "pause")) == 1


def test_what_is_held_is_closed_whatever_the_note_says(tmp_path: Path) -> None:
    desk, _ = holding(tmp_path)
    assert desk.state().held()
    with open_trading_db(desk.request.db, create=False) as conn, writing(conn):
        write_trader_state(conn, {"told": 5, "pause_file": 7})
    (line,) = said(desk.request.db, tmp_path / "pause")
    assert "could not be read" in line
    assert not desk.state().held()


def test_a_trader_of_before_there_were_notes_only_notes(tmp_path: Path) -> None:
    desk = watching(tmp_path, None)
    with open_trading_db(desk.request.db, create=False) as conn, writing(conn):
        content = read_trader_state(conn) or {}
        del content["pause_file"], content["pause_folder"]
        write_trader_state(conn, content)
    desk.restart()
    desk.trader.open(desk.start_ms)
    assert desk.audits("PAUSE_FILE_CHANGED") == []
    assert [one.data for one in desk.audits("PAUSE_FILE_NOTED")] == [{"from": None, "to": ""}]


def test_flat_now_warns_where_the_trader_watches_another_file(tmp_path: Path) -> None:
    desk = watching(tmp_path, str(tmp_path / "pause"))
    (line,) = said(desk.request.db, tmp_path / "other")
    assert f"watches another pause file, {tmp_path / 'pause'} " in line
    assert str(tmp_path / "other") in line


def test_flat_now_warns_where_the_trader_watches_none(tmp_path: Path) -> None:
    desk = watching(tmp_path, None)
    (line,) = said(desk.request.db, tmp_path / "pause")
    assert "watches no pause file" in line


def test_flat_now_warns_where_nothing_is_noted(tmp_path: Path) -> None:
    desk = watching(tmp_path, str(tmp_path / "pause"))
    # As a trader from before left it.
    with open_trading_db(desk.request.db, create=False) as conn, writing(conn):
        content = read_trader_state(conn) or {}
        del content["pause_file"]
        write_trader_state(conn, content)
    (line,) = said(desk.request.db, tmp_path / "pause")
    assert "is not known" in line
    path = tmp_path / "t.db"
    foreign(path, [row("eth", "OPEN", balance=77.5)], [])
    (line,) = said(str(path), tmp_path / "pause")
    assert "is not known" in line
    # The next start notes it.
    desk.restart()
    desk.trader.open(desk.start_ms)
    assert said(desk.request.db, tmp_path / "pause") == []
