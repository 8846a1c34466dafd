"""One candle file: its rows as checked blocks, and what was found out about it on the way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mei.data.layout import Layout, layout_of
from mei.data.rows import RowCheck
from mei.data.stamps import unit_of
from mei.data.table import read_table
from mei.data.text import HEAD_BYTES, TextBlock, text_blocks
from mei.model.bars import BarArray
from mei.model.errors import DataError


@dataclass(frozen=True, slots=True)
class FileHead:
    """What the first lines of a file say: its layout, and the first row's open time (ms)."""

    path: Path
    layout: Layout
    first_ms: int


def read_head(path: Path, step_ms: int) -> FileHead:
    """Read the beginning of a candle file; DataError when it has no rows or its first row has no time."""
    blocks = text_blocks(path, HEAD_BYTES)
    first = next(blocks, None)
    blocks.close()  # type: ignore[attr-defined]
    if first is None:
        raise DataError(
            f"{path}:1: the file is empty; it must hold candles, remove it or fetch it again"
        )
    header, _, rest = first.text.partition(b"\n")
    layout = layout_of(header, path)
    text = rest if layout.n_header_lines else first.text
    if not text:
        raise DataError(
            f"{path}:2: header only: there must be candles below it; remove the file or fetch it again"
        )
    one_row = TextBlock(1 + layout.n_header_lines, text[: text.index(b"\n") + 1])
    table = read_table(one_row, layout, path)
    if table.fault is not None:
        raise table.fault
    stamp = int(table.bars["timestamp"][0])
    unit = unit_of(stamp)
    if unit is None:
        # The row check has the words for it.
        RowCheck(path, step_ms, drop=False).accept(table)
        raise AssertionError("a stamp without a unit is refused")
    return FileHead(path, layout, int(unit.to_ms(table.bars["timestamp"])[0]))


class CandleFile:
    """A file being read once. After `blocks()` is exhausted, `check` and `n_rows` tell what was in it."""

    def __init__(self, head: FileHead, step_ms: int, *, drop: bool) -> None:
        self.head = head
        self.check = RowCheck(head.path, step_ms, drop=drop)
        self.n_rows = 0

    def blocks(self) -> Iterator[BarArray]:
        """Good bars in ms, ascending and unique, in blocks of some thousands; none is empty."""
        layout = self.head.layout
        for block in text_blocks(self.head.path):
            body = _without_header(block) if block.first_line <= layout.n_header_lines else block
            if not body.text:
                continue
            table = read_table(body, layout, self.head.path)
            self.n_rows += len(table.bars)
            bars = self.check.accept(table)
            if len(bars):
                yield bars


def line_of(head: FileHead, open_ms: int) -> int | None:
    """The line on which the bar that opens at `open_ms` stands (reads the file again); None if it is not there."""
    for block in text_blocks(head.path):
        body = _without_header(block) if block.first_line <= head.layout.n_header_lines else block
        table = read_table(body, head.layout, head.path)
        for line, stamp in zip(table.lines.tolist(), table.bars["timestamp"].tolist(), strict=True):
            unit = unit_of(stamp)
            if unit is not None and stamp * unit.denominator == open_ms * unit.numerator:
                return int(line)
    return None


def _without_header(block: TextBlock) -> TextBlock:
    return TextBlock(block.first_line + 1, block.text.partition(b"\n")[2])
