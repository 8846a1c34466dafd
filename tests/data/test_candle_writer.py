"""What a download asks the database that it writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mei.data.candle_writer import CandleWriter, Series, open_candle_writer
from mei.model.bars import BAR_DTYPE, BarArray
from mei.workflows.download.joints import Joints

MINUTE_MS = 60_000
START_MS = 1_700_000_000_000 // MINUTE_MS * MINUTE_MS
SERIES = Series("BTC/USDT", "1m", "binance", "BTC/USDT")


def at(minute: int) -> int:
    return START_MS + minute * MINUTE_MS


def bars(*minutes: int, px: float = 1.0) -> BarArray:
    return np.array([(at(minute), px, px, px, px, 1.0) for minute in minutes], dtype=BAR_DTYPE)


def test_the_newest_bar_before_a_time(tmp_path: Path) -> None:
    with open_candle_writer(tmp_path / "candles_1m.db") as writer:
        writer.add(SERIES, bars(0, 1, 5))
        writer.add(SERIES._replace(symbol="ETH/USDT"), bars(3))
        opens = [
            writer.newest_before(SERIES, at(minute))["timestamp"].tolist()
            for minute in (0, 1, 5, 6, 9_000)
        ]
    assert opens == [[], [at(0)], [at(1)], [at(5)], [at(5)]]


def test_a_joint_over_a_long_hole_reads_the_bar_before_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n_read = []

    def counted(ask: str) -> None:
        original = getattr(CandleWriter, ask)

        def read(self: CandleWriter, *of: object, **more: object) -> BarArray:
            found: BarArray = original(self, *of, **more)
            n_read.append(len(found))
            return found

        monkeypatch.setattr(CandleWriter, ask, read)

    for ask in ("bars", "newest_before"):
        counted(ask)
    with open_candle_writer(tmp_path / "candles_1m.db") as writer:
        writer.add(SERIES, bars(*range(50)))
        joints = Joints(SERIES, writer, MINUTE_MS)
        joints.open(at(9_000))
        joints.take(bars(9_000, 9_001, px=1_000.0))
        joints.close(at(9_001))
    assert [(jump.before_ms, jump.at_ms) for jump in joints.jumps] == [(at(49), at(9_000))]
    assert n_read == [1, 0]
