"""A deployment or rollback that was cut short, put right before anything else is done."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Final

from mei.workflows.deploy.yaml_deploy import deploying, interrupted
from mei.workflows.deployments.hands import Hands
from mei.workflows.deployments.paper_deploy import after_settling
from mei.workflows.deployments.records import Recorded, recorded
from mei.workflows.deployments.restarting import (
    FAILED,
    INTERRUPTED,
    PENDING,
    RestartAsked,
    restart_and_record,
)

_TOOL: Final = "factory"
_UNFINISHED: Final = (PENDING, INTERRUPTED, FAILED)


def settled_record(
    parent: Path,
    event_name: str,
    yaml_path: Path,
    restart: RestartAsked | None,
    hands: Hands,
    is_ours: Callable[[Recorded], bool],
) -> Recorded | None:
    """The newest record under `parent` that is `is_ours`, after what was cut short is settled; None for none.

    yaml_path: the strategy file that the records are of. restart: where the newest record of all is ours, and its
    restart was cut short or failed, it is tried again by this (mode never: it is not), and by what the record says
    where this says nothing (service, feed, pause file); None = such records have none.
    Raises MeiError; NotRestartedError when the restart fails again.
    """
    newest = next(iter(recorded(parent, event_name)), None)
    if interrupted(yaml_path) is None and not _waits_for(newest, restart):
        return _first(parent, event_name, is_ours)
    with deploying(yaml_path, tool=_TOOL, tell=hands.tell) as deployment:
        after_settling(deployment, parent, event_name, hands)
        found = _first(parent, event_name, is_ours)
        newest = next(iter(recorded(parent, event_name)), None)
        if found is None or found != newest or restart is None or not _waits_for(found, restart):
            return found
        event = copy.deepcopy(dict(found.event))
        event["restart"]["result"]["status"] = PENDING
        deployment.commit()
        again = restart.as_recorded(event["restart"])
        restart_and_record(again, found.folder, event_name, event, hands, deployment.journal)
    return found


def _first(parent: Path, event_name: str, is_ours: Callable[[Recorded], bool]) -> Recorded | None:
    return next((one for one in recorded(parent, event_name) if is_ours(one)), None)


def _waits_for(one: Recorded | None, restart: RestartAsked | None) -> bool:
    """Whether a restart was asked for, did not come to a good end, and is still wanted."""
    if one is None or restart is None or restart.mode == "never":
        return False
    node = one.event.get("restart")
    result = node.get("result") if isinstance(node, dict) else None
    return isinstance(result, dict) and result.get("status") in _UNFINISHED
