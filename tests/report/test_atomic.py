"""Files are the old ones or the new ones; errors say what to do."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from mei.model import faults
from mei.model.errors import OutputError
from mei.report.atomic import copy_atomically, ensure_folder, sha256_file, write_atomically


class Killed(BaseException):
    """What a kill looks like from inside."""


def kill_at(monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    """Raise Killed at the fault point of that name, for this test."""

    def handler(name: str) -> None:
        if name == point:
            raise Killed

    monkeypatch.setattr(faults, "_handler", handler)


def test_content_is_replaced_and_no_temporary_stays(tmp_path: Path) -> None:
    target = tmp_path / "run.json"
    write_atomically(target, b"old and long")
    write_atomically(target, b"new")
    assert target.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(("point", "expected"), [("before", b"old"), ("after", b"new")])
def test_kill_around_the_rename_leaves_a_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, expected: bytes
) -> None:
    target = tmp_path / "run.json"
    target.write_bytes(b"old")
    kill_at(monkeypatch, f"report.run.{point}_rename")
    with pytest.raises(Killed):
        write_atomically(target, b"new")
    assert target.read_bytes() == expected


def test_leftover_of_a_killed_writer_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".run.json.tmp").write_bytes(b"half of something much longer")
    write_atomically(tmp_path / "run.json", b"new")
    assert (tmp_path / "run.json").read_bytes() == b"new"
    assert len(list(tmp_path.iterdir())) == 1


def test_writers_at_once_never_mix_their_content(tmp_path: Path) -> None:
    target = tmp_path / "summary.json"
    contents = [bytes([65 + number]) * 200_000 for number in range(4)]

    def write_often(content: bytes) -> None:
        for _ in range(15):
            write_atomically(target, content)

    threads = [threading.Thread(target=write_often, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    seen = set()
    while any(thread.is_alive() for thread in threads):
        if target.exists():
            seen.add(target.read_bytes())
    for thread in threads:
        thread.join()
    assert seen <= set(contents)
    assert target.read_bytes() in contents


def test_absent_folder_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"absent/run\.json must be writable.*create it"):
        write_atomically(tmp_path / "absent" / "run.json", b"x")


def test_file_in_place_of_a_folder_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        ensure_folder(tmp_path / "results")
    with pytest.raises(OutputError, match="is a file, not a folder"):
        ensure_folder(tmp_path / "results" / "runs")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.EROFS, "mount it writable"),
        (errno.EACCES, "UID, GID"),
        (errno.ENOSPC, "disk is full"),
    ],
)
def test_refusing_file_system_keeps_the_old_file_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    target = tmp_path / "equity.csv"
    target.write_bytes(b"old")

    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OutputError, match=remedy) as caught:
        write_atomically(target, b"new")
    assert "\n" not in str(caught.value)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["equity.csv"]


def test_copy_equals_its_source(tmp_path: Path) -> None:
    source = tmp_path / "runs.csv"
    source.write_bytes(os.urandom(3_000_000))
    copy_atomically(source, tmp_path / "copy.csv")
    assert sha256_file(tmp_path / "copy.csv") == sha256_file(source)


def test_copy_of_an_absent_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"source\.csv"):
        copy_atomically(tmp_path / "source.csv", tmp_path / "copy.csv")
