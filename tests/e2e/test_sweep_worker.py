"""Sweeps in containers: sweep_worker and Dask workers killed in the middle, the rows those of the command line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mei.cli import main
from tests.e2e.composed import Composed, docker, state, wait_for
from tests.e2e.test_disturbances import kill_host_process, restarts
from tests.ports import free_port
from tests.sweep_worker.desk import body
from tests.sweeps.markets import sweep_line, write_market

SERVICE, SCHEDULER, DASK_WORKER = "sweep_worker", "dask_scheduler", "dask_worker"
#: How often the container is killed; `E2E_KILLS=20` for the number in benchmarks/results/sweep_survival.md.
N_KILLS = int(os.environ.get("E2E_KILLS", "4"))
#: Rows between two kills.
N_BETWEEN = 800 // N_KILLS
SPEC = """
axes:
- {path: trade.sl_atr_mult, min: 0.5, max: 8, step: 0.002}
- {path: indicators.ema_slow_window, values: [21, 34]}
lookback: 100
"""


class Sweeps:
    """sweep_worker of a Compose project, asked from the host."""

    def __init__(self, composed: Composed) -> None:
        self.composed = composed
        port = composed.settings["SWEEP_WORKER_PORT"]
        self._url = f"http://127.0.0.1:{port}/sweeps"

    def post(self, **more: Any) -> str:
        """The id of the sweep of SPEC."""
        asked = body(sweep_spec_yaml=SPEC, chunk_size=10, rerun=0, **more)
        reply = httpx.post(self._url, content=json.dumps(asked), timeout=60)
        assert reply.status_code == 202, reply.text
        return str(reply.json()["id"])

    def view(self, job_id: str) -> dict[str, Any]:
        """How far it is; nothing while nobody answers."""
        try:
            reply = httpx.get(f"{self._url}/{job_id}", timeout=10)
        except httpx.TransportError:
            return {}
        assert reply.status_code == 200, reply.text
        found: dict[str, Any] = reply.json()
        return found

    def wait_for_rows(self, job_id: str, n_rows: int) -> int:
        """Until so many are done, while it still runs; how many they are then."""
        found = self._wait(job_id, lambda view: view["rows_done"] >= n_rows)
        assert found["state"] == "running", found
        return int(found["rows_done"])

    def finish(self, job_id: str) -> tuple[dict[str, Any], bytes]:
        """The sweep when it is finished, and its rows."""
        view = self._wait(job_id, lambda view: view["state"] == "finished")
        return view, httpx.get(f"{self._url}/{job_id}/results", timeout=60).content

    def _wait(self, job_id: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        found: dict[str, Any] = {}

        def look() -> bool:
            found.clear()
            found.update(self.view(job_id))
            assert found.get("state") != "failed", found
            return bool(found) and is_so(found)

        wait_for(look, "the sweep gets on", 240)
        return found


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with candles and the file of the command line's sweep of SPEC."""
    folder = write_market(tmp_path_factory.mktemp("market"))
    (folder / "spec.yaml").write_text(SPEC)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        line = sweep_line("whole.jsonl", "--ledger", "none", "--rerun", "0", "--chunk-size", "1000")
        assert main.run(line) == 0
    return folder


@pytest.fixture
def swept(tmp_path: Path, image: str, market: Path) -> Iterator[Composed]:
    """A project with both profiles, nothing up yet; removed afterwards."""
    settings = {
        "COMPOSE_PROFILES": "sweep,cluster",
        "CANDLES_DIR": str(market / "candles_dbs"),
        "SWEEP_WORKER_PORT": str(free_port()),
        "SWEEP_LEASE_SECONDS": "2.0",
        "SWEEP_THREADS": "1",
    }
    (tmp_path / "research").mkdir()
    made = Composed(tmp_path / "stack", image, tmp_path / "research", settings)
    yield made
    made.down()


def wait_until_healthy(container: str) -> None:
    wait_for(lambda: state(container)["Health"]["Status"] == "healthy", "it answers", 120)


def test_killed_again_and_again(swept: Composed, market: Path) -> None:
    """By the engine, which leaves the start to us, and from outside, whereupon the engine starts it itself."""
    swept.compose("up", "-d", SERVICE)
    container, sweeps = swept.container(SERVICE), Sweeps(swept)
    wait_until_healthy(container)
    job_id, done = sweeps.post(), 0
    for blow in range(N_KILLS):
        done = sweeps.wait_for_rows(job_id, done + N_BETWEEN)
        if blow % 2:
            before = restarts(container)
            kill_host_process(swept, int(state(container)["Pid"]))
            wait_for(lambda n=before: restarts(container) > n, "the engine revives it", 60)
        else:
            docker("kill", "-s", "KILL", container)
            docker("start", container)
    view, rows = sweeps.finish(job_id)
    assert view["attempts"] == N_KILLS + 1
    assert rows == (market / "whole.jsonl").read_bytes()
    file = swept.results / "sweeps" / job_id / "results.jsonl"
    assert file.read_bytes() == rows


def test_dask_workers_in_containers_one_killed(swept: Composed, market: Path) -> None:
    swept.compose("up", "-d", "--scale", f"{DASK_WORKER}=2", SERVICE, SCHEDULER, DASK_WORKER)
    sweeps = Sweeps(swept)
    wait_until_healthy(swept.container(SERVICE))
    job_id = sweeps.post(on_cluster=True)
    sweeps.wait_for_rows(job_id, N_BETWEEN)
    told = sweeps.view(job_id)["lines"]
    assert any("[sweep] Cluster tcp://dask_scheduler:8786" in line for line in told)
    workers = swept.compose("ps", "-q", DASK_WORKER).stdout.split()
    assert len(workers) == 2
    docker("kill", "-s", "KILL", workers[0])
    assert sweeps.view(job_id)["state"] == "running"
    done = sweeps.wait_for_rows(job_id, sweeps.view(job_id)["rows_done"] + N_BETWEEN)
    docker("start", workers[0])
    assert done < len((market / "whole.jsonl").read_bytes().splitlines())
    view, rows = sweeps.finish(job_id)
    assert view["attempts"] == 1
    assert rows == (market / "whole.jsonl").read_bytes()
