"""A worker whose chunks run on a Dask cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.sweep_worker.desk import Desk
from tests.sweeps.test_cluster import DaskCluster

pytestmark = pytest.mark.slow


@pytest.fixture
def cluster(folder: Path) -> Iterator[DaskCluster]:
    """A scheduler and a worker as processes of their own."""
    found = DaskCluster(folder)
    try:
        found.start_scheduler()
        found.start_worker()
        yield found
    finally:
        found.close()


def test_on_a_cluster(
    open_desk: Callable[..., Desk], cluster: DaskCluster, undisturbed: bytes
) -> None:
    desk = open_desk(sweep_scheduler=cluster.address)
    job_id = desk.post(on_cluster=True)["id"]
    lines = desk.wait(job_id)["lines"]
    assert any(line.startswith(f"[sweep] Cluster {cluster.address}") for line in lines)
    assert desk.rows(job_id) == undisturbed


def test_the_scheduler_is_not_there(open_desk: Callable[..., Desk]) -> None:
    desk = open_desk(sweep_scheduler="tcp://127.0.0.1:9")
    view = desk.wait(desk.post(on_cluster=True)["id"], "failed")
    assert "tcp://127.0.0.1:9 must answer, did not" in view["reason"]
