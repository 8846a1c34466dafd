"""A sweep on a Dask cluster: the file of the same sweep in one process, whatever becomes of the workers."""

from __future__ import annotations

import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mei.cli import main
from mei.model.errors import MeiError, ServiceUnavailableError
from mei.workflows.sweep.cluster import Cluster, _Handout
from mei.workflows.sweep.plan import SweepPlan, plan_sweep
from mei.workflows.sweep.request import SweepRequest
from mei.workflows.sweep.work import compilers
from tests.ports import free_port
from tests.sweeps.markets import ROOT, killed_at, start, sweep_line, write_market

#: About a thousand combinations in chunks of 5.
LONG_SPEC = """
axes:
- {path: trade.sl_atr_mult, min: 0.5, max: 6.4, step: 0.1}
- {path: indicators.ema_slow_window, values: [21, 34]}
- {path: trade.tp_atr_mult, values: [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0]}
lookback: 100
"""
N_DEATHS = 20


class DaskCluster:
    """A scheduler and workers as processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self._folder = folder
        self._log = (folder / "dask.log").open("ab")
        self._scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def start_scheduler(self) -> None:
        line = f"scheduler --host 127.0.0.1 --port {self.port} --no-dashboard --no-jupyter"
        self._scheduler = self._dask(line)
        deadline_s = time.monotonic() + 120.0
        while time.monotonic() < deadline_s:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("no scheduler after two minutes")

    def start_worker(self, **environment: str) -> None:
        """environment: what its variables are, beside those of every process."""
        line = f"worker {self.address} --nthreads 1 --no-nanny --no-dashboard --death-timeout 60"
        self.workers.append(self._dask(line, environment))

    def kill_worker(self, number: int) -> None:
        self._end(self.workers.pop(number))

    def kill_scheduler(self) -> None:
        assert self._scheduler is not None
        self._end(self._scheduler)

    def close(self) -> None:
        for process in [*self.workers, self._scheduler]:
            if process is not None:
                self._end(process)
        self._log.close()

    def _dask(self, line: str, more: Mapping[str, str] = {}) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", *line.split()]
        return subprocess.Popen(
            command,
            cwd=self._folder,
            env={**environment(), **more},
            stdout=self._log,
            stderr=self._log,
        )

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()


def environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a market."""
    monkeypatch.chdir(tmp_path)
    return write_market(tmp_path)


@pytest.fixture
def cluster(folder: Path) -> Iterator[DaskCluster]:
    """A scheduler with two workers."""
    found = DaskCluster(folder)
    try:
        found.start_scheduler()
        for _ in range(2):
            found.start_worker()
        yield found
    finally:
        found.close()


@pytest.fixture
def lonely(folder: Path) -> Iterator[DaskCluster]:
    """A scheduler without a worker."""
    found = DaskCluster(folder)
    try:
        found.start_scheduler()
        yield found
    finally:
        found.close()


@dataclass
class LosingWorker:
    """Chunks on a cluster whose last worker dies when the first chunk is done and not fetched yet."""

    dask: DaskCluster
    monkeypatch: pytest.MonkeyPatch
    then: Callable[[], None] = lambda: None
    is_stopped: bool = False
    deaths: int = 0
    told: list[str] = field(default_factory=list)

    def plan(self) -> SweepPlan:
        request = SweepRequest("spec.yaml", config="c.yaml", output="o.jsonl", chunk_size=5)
        return plan_sweep(request, self.told.append)

    def rows(self, n_chunks: int, patience_s: float) -> list[int]:
        """The chunks that came. Fails instead of hanging."""
        real = _Handout._next

        def losing(handout: _Handout) -> Any:
            found = real(handout)
            if not self.deaths:
                self.deaths += 1
                self.dask.kill_worker(0)
                self.then()
            return found

        self.monkeypatch.setattr(_Handout, "_next", losing)
        cluster = Cluster(
            self.plan(), self.dask.address, 1, self.told.append, lambda: self.is_stopped, patience_s
        )
        found: list[Any] = []

        def run() -> None:
            try:
                found.append([chunk for chunk, _ in cluster.rows(range(n_chunks))])
            except MeiError as error:
                found.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(120.0)
        assert found, "the sweep hangs"
        if isinstance(found[0], MeiError):
            raise found[0]
        return list(found[0])


def undisturbed(folder: Path) -> bytes:
    """The same sweep in one process."""
    assert main.run(sweep_line("whole.jsonl", "--rerun", "0")) == 0
    return (folder / "whole.jsonl").read_bytes()


def test_workers_of_its_own(folder: Path, capsys: Any) -> None:
    whole = undisturbed(folder)
    capsys.readouterr()
    assert main.run(sweep_line("o.jsonl", "--scheduler", "local", "--threads", "2")) == 0
    assert "[sweep] Cluster local: 2 workers, 2 threads" in capsys.readouterr().err
    assert (folder / "o.jsonl").read_bytes() == whole


def test_workers_die_at_random(folder: Path, cluster: DaskCluster) -> None:
    (folder / "spec.yaml").write_text(LONG_SPEC)
    whole = undisturbed(folder)
    rng = random.Random(3)
    process = start(folder, sweep_line("o.jsonl", "--scheduler", cluster.address))
    deaths = 0
    while process.poll() is None and deaths < N_DEATHS:
        journal = next(folder.glob("o.jsonl.*.journal"), None)
        if journal is None or journal.stat().st_size < 2000:
            time.sleep(0.05)
            continue
        time.sleep(rng.uniform(0.0, 0.3))
        cluster.kill_worker(rng.randrange(len(cluster.workers)))
        cluster.start_worker()
        deaths += 1
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said[-3000:]
    assert deaths >= 3
    assert (folder / "o.jsonl").read_bytes() == whole


def test_the_sweep_dies_and_goes_on_without_the_cluster(folder: Path, cluster: DaskCluster) -> None:
    whole = undisturbed(folder)
    line = sweep_line("o.jsonl", "--scheduler", cluster.address)
    assert killed_at(folder, line, "sweep.journal.torn:3")
    assert killed_at(folder, line, "sweep.journal.appended:3")
    assert main.run(sweep_line("o.jsonl")) == 0
    assert (folder / "o.jsonl").read_bytes() == whole


def test_the_scheduler_dies(folder: Path, cluster: DaskCluster) -> None:
    (folder / "spec.yaml").write_text(LONG_SPEC)
    whole = undisturbed(folder)
    process = start(folder, sweep_line("o.jsonl", "--scheduler", cluster.address))
    while not (found := list(folder.glob("o.jsonl.*.journal"))) or found[0].stat().st_size < 2000:
        assert process.poll() is None
        time.sleep(0.02)
    cluster.kill_scheduler()
    _, said = process.communicate(timeout=300)
    assert process.returncode == 1, said[-2000:]
    assert "the same command goes on" in said
    assert signal.SIGKILL not in (-process.returncode,)
    assert main.run(sweep_line("o.jsonl")) == 0
    assert (folder / "o.jsonl").read_bytes() == whole


def test_no_cluster_there(folder: Path, capsys: Any) -> None:
    assert main.run(sweep_line("o.jsonl", "--scheduler", "tcp://127.0.0.1:9")) == 1
    assert "--scheduler tcp://127.0.0.1:9 must answer, did not" in capsys.readouterr().err


def test_the_last_worker_dies_before_its_rows_are_fetched(
    lonely: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    lonely.start_worker()
    losing = LosingWorker(lonely, monkeypatch)
    with pytest.raises(ServiceUnavailableError, match="must have a worker, has had none for 3 s"):
        losing.rows(2, patience_s=3.0)
    lonely.start_worker()
    stopped = LosingWorker(lonely, monkeypatch, is_stopped=True)
    assert stopped.rows(2, patience_s=600.0) == []


def test_another_worker_runs_what_was_not_fetched(
    lonely: DaskCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    lonely.start_worker()
    losing = LosingWorker(lonely, monkeypatch, then=lonely.start_worker)
    assert sorted(losing.rows(4, patience_s=100.0)) == [0, 1, 2, 3]
    assert losing.deaths == 1


def test_a_worker_with_other_compilers_is_refused(
    folder: Path, lonely: DaskCluster, capsys: Any
) -> None:
    """Other to its own ears: what it has installed is told by another name first on its path."""
    about = folder / "site/numba-0.1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: numba\nVersion: 0.1\n")
    lonely.start_worker(PYTHONPATH=f"{folder / 'site'}:{ROOT}")
    assert main.run(sweep_line("o.jsonl", "--scheduler", lonely.address)) == 1
    said = capsys.readouterr().err
    assert f"every worker must have the libraries of this sweep, {compilers()}, one has " in said
    assert " numba 0.1 llvmlite " in said
    assert "worker tcp://127.0.0.1:" in said


def test_what_a_chunk_does_wrong_is_not_the_schedulers_end(
    folder: Path, lonely: DaskCluster, capsys: Any
) -> None:
    """A worker whose disk is full."""
    site = folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import mei.workflows.sweep.chunk as c, errno\n"
        "def run_chunk(*_):\n    raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "c.run_chunk = run_chunk\n"
    )
    lonely.start_worker(PYTHONPATH=f"{site}:{ROOT}")
    assert main.run(sweep_line("o.jsonl", "--scheduler", lonely.address)) == 1
    said = capsys.readouterr().err
    assert "[Errno 28] No space left on device" in said
    assert "worker tcp://127.0.0.1:" in said
    assert "the scheduler must stay" not in said
