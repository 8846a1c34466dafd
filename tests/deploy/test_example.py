"""The strategy file to begin with: can be deployed, and says nothing but what holds without it."""

from __future__ import annotations

from pathlib import Path

from mei.data.strategy_yaml import load_layers
from mei.model.semantics import STRICT
from mei.model.yaml12 import parse_yaml
from mei.rules.mei_alpha.keys import DEFAULTS
from mei.workflows.deploy.deploy_validate import validate_deployable

EXAMPLE = Path(__file__).parents[2] / "config" / "strategy_overrides.example.yaml"


def test_the_example_can_be_deployed() -> None:
    assert validate_deployable(parse_yaml(EXAMPLE.read_text(), str(EXAMPLE))) == []


def test_its_values_are_the_built_in_ones_but_for_the_confidence_of_entries() -> None:
    found = load_layers(EXAMPLE, live=False, semantics=STRICT, tell=lambda _: None).portfolio
    differing = {path for path, value in found.items() if value != DEFAULTS[path]}
    assert differing == {"trade.entry_min_confidence"}
