"""Growing files: what is committed survives, what is not is cut away."""

from __future__ import annotations

from pathlib import Path

import pytest

from mei.model import faults
from mei.model.errors import OutputError
from mei.report.append import AppendLog

HEADER = "timestamp,equity"


def test_new_file_starts_with_its_header(tmp_path: Path) -> None:
    path = tmp_path / "equity.csv"
    path.write_text("of an older attempt\n" * 50)
    with AppendLog(path, HEADER, None) as log:
        log.write_lines(["1,2.0", "3,4.0"])
        offset = log.commit()
    assert path.read_text() == "timestamp,equity\n1,2.0\n3,4.0\n"
    assert offset == path.stat().st_size


def test_lines_are_on_disk_once_committed(tmp_path: Path) -> None:
    path = tmp_path / "equity.csv"
    log = AppendLog(path, HEADER, None)
    log.write_lines(["1,2.0"])
    assert log.commit() == len(path.read_bytes())
    assert path.read_text().endswith("1,2.0\n")
    log.close()


def test_resume_cuts_back_to_the_offset_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "equity.csv"
    with AppendLog(path, HEADER, None) as log:
        log.write_lines(["1,2.0"])
        offset = log.commit()
        log.write_lines(["written but not in the checkpoint"])
    with AppendLog(path, HEADER, offset) as log:
        log.write_lines(["3,4.0"])
        assert log.commit() == path.stat().st_size
    assert path.read_text() == "timestamp,equity\n1,2.0\n3,4.0\n"


def test_writing_in_pieces_gives_the_same_bytes(tmp_path: Path) -> None:
    lines = [f"{number},{number / 7!r}" for number in range(5_000)]
    with AppendLog(tmp_path / "a.csv", HEADER, None) as log:
        log.write_lines(lines)
    offset = None
    for start in range(0, len(lines), 333):
        with AppendLog(tmp_path / "b.csv", HEADER, offset) as log:
            log.write_lines(lines[start : start + 333])
            offset = log.commit()
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_file_shorter_than_the_checkpoint_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "equity.csv"
    path.write_text("timestamp,equity\n")
    with pytest.raises(
        OutputError, match=r"must hold the 99 bytes of the checkpoint, holds 17.*RERUN"
    ):
        AppendLog(path, HEADER, 99)
    assert path.read_text() == "timestamp,equity\n"


def test_absent_file_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"must exist to resume.*RERUN"):
        AppendLog(tmp_path / "equity.csv", HEADER, 17)


def test_file_with_another_header_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "equity.csv"
    path.write_text("somebody else's file\nwith two lines\n")
    with pytest.raises(OutputError, match="line 1 must be 'timestamp,equity'"):
        AppendLog(path, HEADER, 20)
    assert path.read_text() == "somebody else's file\nwith two lines\n"


def test_absent_folder_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="create it"):
        AppendLog(tmp_path / "absent" / "equity.csv", HEADER, None)


def test_full_disk_is_an_output_error() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    log = AppendLog.__new__(AppendLog)
    log._path, log._file = full, full.open("wb")
    log.write_lines(["1,2.0"])
    with pytest.raises(OutputError, match="disk is full"):
        log.commit()
    with pytest.raises(OutputError, match="disk is full"):
        log.close()


def test_commit_passes_both_fault_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    monkeypatch.setattr(faults, "_handler", names.append)
    with AppendLog(tmp_path / "equity.csv", HEADER, None) as log:
        log.commit()
    assert names == ["report.equity.before_commit", "report.equity.after_commit"]
