"""A folder to deploy in."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.deploy.desk import Desk


@pytest.fixture(name="desk")
def _desk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Desk:
    """The current directory, with nothing of the environment that the tool reads."""
    for name in ("RESTART_COMMAND", "PAPER_SERVICE", "LIVE_SERVICE", "AI_QUANT_PAPER_DB_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("AI_QUANT_SECRETS_PATH", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO(""))  # whoever is asked answers nothing
    monkeypatch.chdir(tmp_path)
    return Desk(tmp_path, capsys)
