"""Chunk files: named by their content, whole or not there, and refused when they are not what was registered."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mei.data.chunks import ChunkContent, read_chunk, write_chunk
from mei.model import faults
from mei.model.bars import BAR_DTYPE, BarArray, empty_bars
from mei.model.errors import ConfigError, DataError, OutputError
from tests.data.candles import MINUTE_MS, START_MS, csv, klines, minutes, put, row

STREAM = "backtest/0123456789ab"


def bars(n_bars: int = 1000) -> BarArray:
    made = empty_bars(n_bars)
    made["timestamp"] = START_MS + MINUTE_MS * np.arange(n_bars)
    for place, name in enumerate(("open", "high", "low", "close", "volume")):
        made[name] = 100 + place + np.arange(n_bars) / 7
    return made


def write(incoming: Path, written: BarArray, stream: str = STREAM) -> ChunkContent:
    return write_chunk(incoming, stream, "BTC/USDT", "1m", written)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def points() -> Iterator[list[str]]:
    hit: list[str] = []
    faults.install(hit.append)
    yield hit
    faults.install(None)


def test_a_chunk_comes_back_as_it_was_written(tmp_path: Path) -> None:
    content = write(tmp_path, bars())
    packed = (tmp_path / content.path).read_bytes()
    assert content.sha256 == hashlib.sha256(packed).hexdigest()
    assert content.path == f"{STREAM}/BTC_USDT/1m/{START_MS}-{content.sha256[:16]}.npy"
    assert (content.first_ms, content.last_ms, content.n_bars) == (
        START_MS,
        START_MS + 999 * MINUTE_MS,
        1000,
    )
    assert read_chunk(tmp_path, content.path, content.sha256).tobytes() == bars().tobytes()


def test_the_hash_of_a_chunk_is_the_same_everywhere(tmp_path: Path) -> None:
    assert (
        write(tmp_path, bars(3)).sha256
        == "9318c061741cd8760e526e59f429d3a9f19f91963d636361d8316e3128770579"
    )


def test_a_view_is_written_like_its_copy(tmp_path: Path) -> None:
    assert write(tmp_path, bars(2000)[::2]) == write(tmp_path, bars(2000)[::2].copy())


def test_writing_again_changes_nothing(tmp_path: Path, points: list[str]) -> None:
    first = write(tmp_path, bars())
    before = (tmp_path / first.path).stat()
    assert write(tmp_path, bars()) == first
    after = (tmp_path / first.path).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert points == ["data.chunk.before_rename", "data.chunk.after_rename"]


def test_a_chunk_appears_whole_by_a_rename(tmp_path: Path) -> None:
    inodes: list[int] = []

    def note(name: str) -> None:
        if name.endswith("before_rename"):
            inodes.extend(path.stat().st_ino for path in tmp_path.rglob("*.tmp"))

    faults.install(note)
    try:
        content = write(tmp_path, bars())
    finally:
        faults.install(None)
    assert inodes == [(tmp_path / content.path).stat().st_ino]
    assert len(files_in(tmp_path)) == 1


def test_a_damaged_file_is_healed_by_writing_again(tmp_path: Path) -> None:
    content = write(tmp_path, bars())
    (tmp_path / content.path).write_bytes(b"half")
    write(tmp_path, bars())
    assert len(read_chunk(tmp_path, content.path, content.sha256)) == 1000


def test_an_interrupted_writing_leaves_no_chunk_and_can_be_repeated(tmp_path: Path) -> None:
    class KilledError(Exception):
        pass

    def kill(name: str) -> None:
        if name.endswith("before_rename"):
            raise KilledError

    faults.install(kill)
    try:
        with pytest.raises(KilledError):
            write(tmp_path, bars())
    finally:
        faults.install(None)
    assert not [name for name in files_in(tmp_path) if name.endswith(".npy")]
    content = write(tmp_path, bars())
    assert len(read_chunk(tmp_path, content.path, content.sha256)) == 1000


def test_a_missing_chunk_is_refused(tmp_path: Path) -> None:
    content = write(tmp_path, bars())
    (tmp_path / content.path).unlink()
    with pytest.raises(
        DataError, match=r"\.npy: a registered chunk must be readable \(No such file"
    ):
        read_chunk(tmp_path, content.path, content.sha256)


@pytest.mark.parametrize("place", [0, 10, 200, -1])
def test_an_altered_chunk_is_refused(tmp_path: Path, place: int) -> None:
    content = write(tmp_path, bars())
    packed = bytearray((tmp_path / content.path).read_bytes())
    packed[place] ^= 1
    (tmp_path / content.path).write_bytes(packed)
    with pytest.raises(DataError, match="was altered: SHA-256 must be"):
        read_chunk(tmp_path, content.path, content.sha256)


def _npy(array: object, pickled: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)  # type: ignore[arg-type]
    return buffer.getvalue()


MALFORMED = {
    "nothing": b"",
    "no npy": b"timestamp,open",
    "cut off": _npy(bars())[:-100],
    "floats": _npy(np.zeros((10, 6))),
    "matrix": _npy(bars(10).reshape(2, 5)),
    "vector of floats": _npy(np.arange(10.0)),
    "other byte order": _npy(bars(10).astype(BAR_DTYPE.newbyteorder())),
    "no bars": _npy(empty_bars()),
    "disorder": _npy(bars(10)[::-1]),
    "twice": _npy(bars(10)[[0, 0, 1]]),
    "pickle": _npy(np.array([{"a": 1}], dtype=object), pickled=True),
}


@pytest.mark.parametrize("content", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_chunk_is_refused_though_its_hash_fits(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "live/BTC_USDT/1m/1.npy"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(DataError, match="malformed chunk") as caught:
        read_chunk(tmp_path, "live/BTC_USDT/1m/1.npy", hashlib.sha256(content).hexdigest())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", ["disorder", "twice", "no bars", "floats"])
def test_what_could_not_be_read_is_not_written(tmp_path: Path, wrong: str) -> None:
    array = np.load(io.BytesIO(MALFORMED[wrong]))
    with pytest.raises(DataError, match="bars to write: malformed chunk"):
        write(tmp_path, array)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("path", ["../secret.npy", "/etc/passwd", "a/../../b.npy", "alone.npy"])
def test_a_path_out_of_the_incoming_folder_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(DataError, match="must lie inside the incoming folder"):
        read_chunk(tmp_path / "incoming", path, "")


def test_a_stream_cannot_lead_out_of_the_incoming_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must lie inside"):
        write(tmp_path, bars(), stream="a/../..")
    with pytest.raises(ConfigError, match="TIMEFRAME"):
        write_chunk(tmp_path, STREAM, "BTC/USDT", "..", bars())


def test_a_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "incoming").write_text("a file where a folder must be")
    with pytest.raises(
        OutputError, match=r"a chunk must be writable here .*DATA_INCOMING"
    ) as caught:
        write(tmp_path / "incoming", bars())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", [csv(*minutes(0, 20)), klines(0, 20, per_ms=1000)], ids=["header", "kline"]
)
@pytest.mark.parametrize("name", ["c.csv", "c.csv.gz"])
def test_text_chunks_of_a_live_ingester_are_read(tmp_path: Path, name: str, text: str) -> None:
    packed = put(tmp_path / "live", name, text).read_bytes()
    chunk = read_chunk(tmp_path, f"live/BTC_USDT/1m/{name}", hashlib.sha256(packed).hexdigest())
    assert [",".join(map(str, bar)) for bar in chunk[["timestamp", "high"]].tolist()] == [
        f"{START_MS + minute * MINUTE_MS},110.0" for minute in range(20)
    ]


def test_a_faulty_text_chunk_is_refused_with_its_line(tmp_path: Path) -> None:
    packed = put(tmp_path / "live", "c.csv", csv(row(0), row(1, close=""))).read_bytes()
    with pytest.raises(DataError, match=r"c\.csv:3: close must be a number"):
        read_chunk(tmp_path, "live/BTC_USDT/1m/c.csv", hashlib.sha256(packed).hexdigest())
