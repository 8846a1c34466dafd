"""docs/reference/configuration.md says what the settings are."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from mei.rules.mei_alpha.keys import KEYS

ROOT = Path(__file__).parents[2]


@pytest.fixture(name="tool")
def _tool() -> ModuleType:
    path = ROOT / "tools" / "configuration_reference.py"
    spec = importlib.util.spec_from_file_location("configuration_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_document_is_up_to_date(tool: ModuleType) -> None:
    assert tool.main(["--check"]) == 0, "run python tools/configuration_reference.py"


def test_an_old_document_is_told_and_replaced(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tool.TARGET = tmp_path / "configuration.md"
    assert tool.main(["--check"]) == 1
    assert "configuration_reference.py" in capsys.readouterr().err
    assert tool.main([]) == 0
    assert tool.main(["--check"]) == 0


def test_every_setting_has_its_line() -> None:
    lines = (ROOT / "docs" / "reference" / "configuration.md").read_text().splitlines()
    documented = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert documented == [key.path for key in KEYS]
    assert (
        "| `trade.entry_min_confidence` | `low`, `medium`, `high` | `high` |  |  | F "
        "| smallest confidence to open |" in lines
    )
