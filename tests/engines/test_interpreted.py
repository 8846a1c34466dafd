"""Records as plain rules see them: fields are attributes of the caller's memory."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from mei.engines.interpreted import bind_python

DTYPE = np.dtype([("px", "<f8"), ("size", "<i8"), ("is_open", "?")])


class Books(NamedTuple):
    rows: Any
    values: Any


def double(books: Books, record: Any, number: int) -> float:
    """A rule that writes where it is told to."""
    row = books.rows[number]
    row.px = row.px * 2.0
    row.size -= 1
    row.is_open = True
    books.rows[0] = row
    record.px = books.values[number]
    return row.px / record.size


def books_of(n_rows: int) -> tuple[Books, Any]:
    rows = np.zeros(n_rows, dtype=DTYPE)
    rows["px"] = np.arange(n_rows) + 1.0
    return Books(rows, np.arange(n_rows) / 8.0), np.zeros(1, dtype=DTYPE)


def test_writes_reach_the_callers_records() -> None:
    books, record = books_of(3)
    bind_python(double)(books, record[0], 2)
    assert books.rows.tolist() == [(6.0, -1, True), (2.0, 0, False), (6.0, -1, True)]
    assert record.tolist() == [(0.25, 0, False)]
    assert type(books.rows[0]) is np.void


def test_a_division_by_zero_is_an_infinity_as_in_compiled_code() -> None:
    books, record = books_of(2)
    assert bind_python(double)(books, record[0], 1) == np.inf


def test_a_field_named_like_an_attribute_of_numpy_is_the_field() -> None:
    rows = np.array([(1.0, 77, False)], dtype=DTYPE)
    assert bind_python(lambda rows: rows[0].size)(rows) == 77


def test_an_unknown_field_cannot_be_read_or_written() -> None:
    def write(row: Any) -> None:
        row.pz = 1.0

    rows = np.zeros(1, dtype=DTYPE)
    with pytest.raises(ValueError, match="pz"):
        bind_python(write)(rows[0])
    with pytest.raises(AttributeError, match="pz"):
        bind_python(lambda row: row.pz)(rows[0])


def test_no_rows_and_plain_values_pass() -> None:
    rows = np.zeros(0, dtype=DTYPE)
    assert bind_python(lambda *found: len(found[0]) + found[1] + found[2].sum())(
        rows, 2, np.ones(3)
    ) == pytest.approx(5.0)
