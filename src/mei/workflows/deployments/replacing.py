"""The paper trader's strategy file replaced, and the record of it: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from mei.report.json_text import pretty_json
from mei.workflows.deploy.journal import FollowUp
from mei.workflows.deploy.yaml_deploy import Deployment, replace_yaml
from mei.workflows.deployments.hands import Hands
from mei.workflows.deployments.restarting import PENDING
from mei.workflows.deployments.strategy_text import StrategyText


class RecordNames(NamedTuple):
    """Files of a record: the text put in place, the text that stood there, the event."""

    put: str
    stood: str
    event: str


def replace_and_record(
    deployment: Deployment,
    files: tuple[StrategyText | None, StrategyText],
    folder: Path,
    names: RecordNames,
    event: dict[str, Any],
    now_ms: Callable[[], int],
    hands: Hands,
) -> None:
    """Replace the file; the record follows it, its event last, or is completed by whoever deploys next.

    files: what stands there (None = nothing) and what is put in its place. An empty `folder` does not stay.
    """
    before, after = files
    record = [FollowUp(str(folder / names.put), None, after.text)]
    if before is not None:
        record.append(FollowUp(str(folder / names.stood), None, before.text))
    record.append(FollowUp(str(folder / names.event), None, pretty_json(event)))
    deployment.journal.record.wants_restart = event["restart"]["result"]["status"] == PENDING
    try:
        replace_yaml(
            deployment.journal.yaml_path,
            after.text,
            now_ms=now_ms,
            journal=deployment.journal,
            then=[absolute(one) for one in record],
            expected_sha256=None if before is None else before.sha256,
            tell=hands.tell,
        )
    except BaseException:
        with suppress(OSError):
            folder.rmdir()
        raise
    deployment.commit()


def absolute(one: FollowUp) -> FollowUp:
    """With a path that the next program finds from wherever it is started."""
    return FollowUp(str(Path(one.path).absolute()), one.before, one.text)
