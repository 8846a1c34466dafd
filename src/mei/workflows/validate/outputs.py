"""The files of a validation: checked before anything runs, so that none overwrites what is read or written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mei.report.atomic import ensure_folder
from mei.report.json_text import pretty_json
from mei.workflows.files import Named, check_apart, check_folder, write_result
from mei.workflows.strategy import Tell


def prepare_outputs(
    output: str, out_dir: str, written: Iterable[str], inputs: Sequence[Named]
) -> None:
    """Make the folders of `written`, files in `out_dir`, once it is certain that nothing is overwritten.

    inputs: what is read, with its flags. Raises ConfigError, OutputError.
    """
    inside = list(written)
    outputs = [("--output", output), *(("--out-dir", path) for path in inside)]
    check_apart(outputs, inputs)
    for folder in dict.fromkeys([Path(out_dir), *(Path(path).parent for path in inside)]):
        ensure_folder(folder)
    check_folder(output)


def write_summary(output: str, summary: dict[str, Any], tell: Tell) -> None:
    """The summary as JSON, keys sorted."""
    write_result(output, pretty_json(summary))
    tell(f"Written to {output}")


def each_once(tell: Tell) -> Tell:
    """`tell` without the lines it has had."""
    told: set[str] = set()

    def once(line: str) -> None:
        if line not in told:
            told.add(line)
            tell(line)

    return once
