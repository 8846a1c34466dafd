"""The README holds what was measured, not places for it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_nothing_is_left_to_fill_in() -> None:
    text = (ROOT / "README.md").read_text()
    assert re.findall(r"@@\w*@@", text) == []


def test_every_local_link_leads_somewhere() -> None:
    text = (ROOT / "README.md").read_text()
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []
