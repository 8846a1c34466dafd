"""The tables of docs/concepts/semantics.md say what the stored runs say."""

from __future__ import annotations

import pytest

from benchmarks import semantics_value
from mei.model.semantics import CHOICES


def test_the_tables_say_what_was_measured() -> None:
    assert semantics_value.check() == []


@pytest.mark.parametrize("switch", sorted(CHOICES))
def test_a_row_that_is_gone_or_other_is_found(switch: str) -> None:
    page = semantics_value.TABLES.read_text()
    row = next(line for line in page.split("\n") if line.startswith(f"| `{switch}`:"))
    assert any(switch in fault for fault in semantics_value.check(page.replace(row, "")))
    other = row.removesuffix(" |") + "1 |"
    assert any(switch in fault for fault in semantics_value.check(page.replace(row, other)))


def test_another_number_of_a_run_is_found() -> None:
    page = semantics_value.TABLES.read_text()
    line = next(line for line in page.split("\n") if line.startswith("| A | "))
    assert len(semantics_value.check(page.replace(line, line.replace(" USD", "0 USD")))) == 1
