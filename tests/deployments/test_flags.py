"""Programs that judge and deploy have the same flags: one text, one default, one limit."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, get_type_hints

import pytest

from mei.cli import deployment_options, deployment_tools, factory
from mei.workflows.deployments import paper_deploy
from mei.workflows.deployments.promotion_gates import Thresholds
from mei.workflows.deployments.restarting import RestartAsked

PAIRS = [
    (deployment_tools.promote_to_live, factory.watch),
    (deployment_tools.paper_deploy, factory.run),
    (deployment_tools.rollback_to_last_good, factory.watch),
]
#: Means different things: what a dry run writes; and a look asks the record for the file that a rollback is told.
_OWN = {"dry_run", "yaml_path"}


def flags(command: Callable[..., Any]) -> dict[str, tuple[Any, Any]]:
    """Type and default of each flag, by the parameter's name."""
    types = get_type_hints(command, include_extras=True)
    parameters = inspect.signature(command).parameters
    return {name: (types[name], one.default) for name, one in parameters.items()}


@pytest.mark.parametrize(("tool", "command"), PAIRS)
def test_a_flag_of_both_has_one_owner(
    tool: Callable[..., Any], command: Callable[..., Any]
) -> None:
    ours, theirs = flags(tool), flags(command)
    shared = (set(ours) & set(theirs)) - _OWN
    assert len(shared) >= 4
    owned = [one for name, one in vars(deployment_options).items() if name.endswith("Flag")]
    for name in shared:
        known, default = ours[name]
        assert any(known is one for one in owned), name
        assert theirs[name][0] is known, name
        assert theirs[name][1] == default, name


@pytest.mark.parametrize("command", PAIRS[0])
def test_defaults_are_those_of_the_gates(command: Callable[..., Any]) -> None:
    found = flags(command)
    for name, value in asdict(Thresholds()).items():
        assert found[name][1] == value, name


def test_other_defaults_stand_once() -> None:
    assert deployment_options.DEFAULT_YAML == paper_deploy.DEFAULT_YAML
    restart = asdict(RestartAsked())
    found = flags(deployment_tools.paper_deploy)
    assert {name: found["restart" if name == "mode" else name][1] for name in restart} == restart
