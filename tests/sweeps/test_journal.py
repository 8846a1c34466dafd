"""The journal of a sweep: what is finished survives, what is half-written is cut off, nothing foreign is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mei.model.errors import ConflictError, DataError
from mei.workflows.sweep.journal import Journal

_DTYPE = np.dtype([("index", "<i8"), ("row", [("pnl", "<f8"), ("trades", "<i8")])])


def records(first: int, n: int) -> Any:
    found = np.zeros(n, dtype=_DTYPE)
    found["index"] = np.arange(first, first + n)
    found["row"]["pnl"] = found["index"] * 1.5
    return found


def filled(path: Path, *chunks: int) -> int:
    """A journal with these chunks of 5 records; its size in bytes."""
    with Journal(path, "me", _DTYPE) as journal:
        for chunk in chunks:
            journal.append(chunk, records(chunk * 5, 5))
    return path.stat().st_size


def test_chunks_come_back_by_number(tmp_path: Path) -> None:
    path = tmp_path / "j"
    filled(path, 2, 0)
    with Journal(path, "me", _DTYPE) as journal:
        assert journal.n_rows == 10
        journal.append(1, records(5, 5))
        found = [(frame.chunk, block["index"].tolist()) for frame, block in journal.blocks()]
        assert found == [(n, list(range(n * 5, n * 5 + 5))) for n in (0, 1, 2)]
        assert journal.record(journal.frames[2], 3)["row"]["pnl"].tolist() == [19.5]
        assert journal.repairs == []


def test_a_chunk_is_kept_once(tmp_path: Path) -> None:
    path = tmp_path / "j"
    size = filled(path, 0)
    with Journal(path, "me", _DTYPE) as journal:
        journal.append(0, records(100, 5))
        assert [block["index"][0] for _, block in journal.blocks()] == [0]
    assert path.stat().st_size == size


def test_every_torn_end_is_cut_off_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "j"
    whole = filled(path, 0)
    content = path.read_bytes()
    filled(path, 0, 1)
    longer = path.read_bytes()
    assert longer.startswith(content)
    for size in range(len(longer)):
        path.write_bytes(longer[:size])
        with Journal(path, "me", _DTYPE) as journal:
            kept = 0 if size < whole else 1
            assert sorted(journal.frames) == list(range(kept))
            on_a_border = size == whole or size <= len(longer) - 2 * (len(longer) - whole)
            assert bool(journal.repairs) == (not on_a_border), size
            for chunk in range(kept, 2):
                journal.append(chunk, records(chunk * 5, 5))
        assert path.read_bytes() == longer


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "j"
    filled(path, 0, 1)
    content = bytearray(path.read_bytes())
    content[-5 * _DTYPE.itemsize - 40] ^= 1  # in the records of chunk 0
    path.write_bytes(bytes(content))
    with Journal(path, "me", _DTYPE) as journal:
        assert sorted(journal.frames) == [1]
        assert "chunk 0 does not match its checksum" in journal.repairs[0]
        journal.append(0, records(0, 5))
    with Journal(path, "me", _DTYPE) as journal:
        assert [block["index"][0] for _, block in journal.blocks()] == [0, 5]


def test_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "j"
    path.write_text("a file of somebody's that is long enough to be anything " * 9)
    before = path.read_bytes()
    with pytest.raises(DataError, match="must be the journal of this sweep"):
        Journal(path, "me", _DTYPE)
    filled(tmp_path / "other", 0)
    with pytest.raises(DataError, match="must be the journal of this sweep"):
        Journal(tmp_path / "other", "somebody", _DTYPE)
    assert path.read_bytes() == before


def test_one_process_writes(tmp_path: Path) -> None:
    path = tmp_path / "j"
    with (
        Journal(path, "me", _DTYPE),
        pytest.raises(ConflictError, match="another sweep is writing"),
    ):
        Journal(path, "me", _DTYPE)
