"""kill -9 of the download and of the ingester, at every fault point and by the clock: what is there does not change."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.data_ingester.fake_exchange import FakeExchange, Reply, broken, busy, serving, torn
from tests.data_ingester.fake_market import DAY_MS, HOUR_MS, MINUTE_MS, START_MS
from tests.data_ingester.house import candles_of, empty_of, files_of, table
from tests.ports import free_port

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LIMIT_S = 120.0
N_CLOCK_KILLS = 20
#: Of the ingester, besides those at fault points.
N_INGESTER_KILLS = 12
DAYS = 12
#: Between two runs that find the same large hole, so that it is noted.
AGAIN_MS = 600_000


def misbehaving(number: int) -> Reply | None:
    """One request in six fails, by its number alone; each takes its time."""
    time.sleep(0.01)
    kind = {1: busy(), 3: broken(), 5: torn()}
    return kind.get(number % 17) if number % 17 in kind else None


def troubled() -> FakeExchange:
    """An exchange with holes, impossible candles and failing answers."""
    exchange = FakeExchange(failing=misbehaving)
    market = exchange.market
    market.now_ms = START_MS + DAYS * DAY_MS + 30_000
    minutes = [*range(5, 9), *range(990, 1003), 4000, *range(7000, 9500)]
    market.missing = {START_MS + minute * MINUTE_MS for minute in minutes}
    market.impossible = {START_MS + 2 * HOUR_MS, START_MS + 3 * HOUR_MS}
    return exchange


@pytest.fixture
def exchange() -> Iterator[FakeExchange]:
    with serving(troubled()) as started:
        yield started


def environment(fault: str | None, log: Path | None, more: dict[str, str]) -> dict[str, str]:
    """A clean environment, maybe with a fault plan."""
    kept = ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "TMPDIR")
    env = {name: value for name, value in os.environ.items() if name in kept} | more
    env |= {"MEI_FAULT": fault} if fault else {}
    return env | ({"MEI_FAULT_LOG": str(log)} if log else {})


class Download:
    """`mei-backtester download` of two symbols, funding and files, in a folder, as processes."""

    def __init__(self, folder: Path, exchange: FakeExchange) -> None:
        self.folder = folder
        folder.mkdir()
        flags = {
            "--symbols": "BTC/USDT,ETH/USDT",
            "--since": "2024-01-01",
            "--until": str(START_MS + DAYS * DAY_MS),
            "--candles-dir": str(folder / "dbs"),
            "--research-dir": str(folder / "research"),
            "--base-url": exchange.url,
            "--pause-ms": "0",
            "--retry-wait-s": "0.001",
        }
        line = [part for pair in flags.items() for part in pair]
        self._line = [sys.executable, "-m", "tests.data_ingester.killable", "download", "--funding"]
        self._line += line

    def start(self, fault: str | None = None, log: Path | None = None) -> subprocess.Popen[bytes]:
        """A process; what it says is appended to <folder>/log."""
        with (self.folder / "log").open("ab") as output:
            return subprocess.Popen(
                self._line,
                cwd=ROOT,
                env=environment(fault, log, {}),
                stdout=output,
                stderr=output,
            )

    def run(self, fault: str | None = None, log: Path | None = None) -> int:
        """The exit code of one process."""
        return self.start(fault, log).wait(LIMIT_S)

    def said(self) -> str:
        return (self.folder / "log").read_text()

    def result(self) -> dict[str, Any]:
        """Everything that must never depend on what happened to the processes."""
        database = self.folder / "dbs/candles_1m.db"
        funding = "SELECT * FROM funding_rates ORDER BY 1, 2"
        research = self.folder / "research"
        return {
            "candles": candles_of(database),
            "empty": empty_of(database),
            "sources": table(database, "SELECT * FROM download_sources ORDER BY 1"),
            "funding": table(self.folder / "dbs/funding_rates.db", funding),
            "files": {
                str(path.relative_to(research)): path.read_bytes()
                for path in sorted(research.rglob("*.csv"))
            },
        }


def undisturbed(tmp_path: Path, exchange: FakeExchange) -> tuple[dict[str, Any], list[str]]:
    """The result of a download that nobody touched, and the fault points it passed."""
    download = Download(tmp_path / "undisturbed", exchange)
    log = tmp_path / "points"
    for _ in range(2):
        assert download.run(log=log) == 0, download.said()
        exchange.market.now_ms += AGAIN_MS
    result = download.result()
    assert len(result["candles"]) == 2 * (DAYS * 1440 - 4 - 13 - 1 - 2500 - 2)
    # As many as there are symbols: (5..8), (990..1002), 4000, (7000..9499), and two impossible ones.
    assert len(result["empty"]) == 2 * 6
    assert len(result["funding"]) == 2 * 3 * DAYS
    assert len(result["files"]) == 2
    return result, list(dict.fromkeys(log.read_text().split()))


def test_a_download_killed_at_every_fault_point(
    tmp_path: Path, exchange: FakeExchange, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted, points = undisturbed(tmp_path, exchange)
    assert len(points) >= 10
    n_kills = 0
    for hit in (1, 5):
        download = Download(tmp_path / f"killed{hit}", exchange)
        for point in points:
            code = download.run(fault=f"{point}:{hit}")
            # It was killed, or it did not come there so often any more.
            assert code in (-signal.SIGKILL, 0), download.said()
            n_kills += code != 0
            exchange.market.now_ms += MINUTE_MS
        for _ in range(2):
            assert download.run() == 0, download.said()
            exchange.market.now_ms += AGAIN_MS
        assert download.result() == wanted
    assert n_kills >= len(points)
    with capsys.disabled():
        print(f"\ndownload: {n_kills} kills at {len(points)} fault points")


def test_a_download_killed_by_the_clock(
    tmp_path: Path, exchange: FakeExchange, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted, _ = undisturbed(tmp_path, exchange)
    rng = random.Random(11)
    n_kills = n_finished = 0
    download = Download(tmp_path / "clock0", exchange)
    while n_kills < N_CLOCK_KILLS or n_finished == 0:
        n_asked = exchange.n_data
        process = download.start()
        # From its first request on: before it only imports happen.
        deadline_s = time.monotonic() + LIMIT_S
        while exchange.n_data == n_asked and process.poll() is None:
            assert time.monotonic() < deadline_s, download.said()
            time.sleep(0.005)
        time.sleep(rng.uniform(0.0, 0.25))
        if n_kills < N_CLOCK_KILLS and process.poll() is None:
            process.kill()
            n_kills += 1
        code = process.wait(LIMIT_S)
        assert code in (-signal.SIGKILL, 0), download.said()
        exchange.market.now_ms += MINUTE_MS
        if code == 0:
            exchange.market.now_ms += AGAIN_MS
            assert download.run() == 0, download.said()
            assert download.result() == wanted
            n_finished += 1
            download = Download(tmp_path / f"clock{n_finished}", exchange)
    with capsys.disabled():
        print(f"\ndownload: {n_kills} kills by the clock in {n_finished} downloads")


class Ingester:
    """A data_ingester as a process on folders of its own, looking for news all the time."""

    def __init__(self, folder: Path, exchange: FakeExchange) -> None:
        self.folder = folder
        folder.mkdir()
        self._port = free_port()
        self._settings = {
            "EXCHANGE_URL": exchange.url,
            "EXCHANGE_PAUSE_MS": "0",
            "EXCHANGE_RETRY_SECONDS": "0.001",
            "SYMBOLS": "BTC/USDT,ETH/USDT",
            "INGEST_SINCE": "2024-01-01",
            "INGEST_SECONDS": "0.05",
            "CANDLES_DIR": str(folder / "dbs"),
            "DATA_INCOMING": str(folder / "incoming"),
            "LEDGER_DB": str(folder / "manifest.sqlite"),
            "CHUNK_ROWS": "300",
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, fault: str | None = None, log: Path | None = None) -> None:
        """A process; what it says is appended to <folder>/log."""
        command = [sys.executable, "-m", "services.data_ingester.app.main"]
        with (self.folder / "log").open("ab") as output:
            self.process = subprocess.Popen(
                [*command, "--port", str(self._port)],
                cwd=ROOT,
                env=environment(fault, log, self._settings),
                stdout=output,
                stderr=output,
            )

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    @property
    def is_dead(self) -> bool:
        """Whether it has ended by itself."""
        assert self.process is not None
        return self.process.poll() is not None

    def ingest(self) -> None:
        """Ask for a pass of the process that runs, until it has gone well."""
        deadline_s = time.monotonic() + LIMIT_S
        while True:
            assert time.monotonic() < deadline_s, self.said()
            assert not self.is_dead, self.said()
            request = urllib.request.Request(
                f"http://127.0.0.1:{self._port}/ingest_once", method="POST"
            )
            try:
                urllib.request.urlopen(request, timeout=LIMIT_S).read()
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)

    def said(self) -> str:
        return (self.folder / "log").read_text()[-3000:]

    def result(self) -> dict[str, Any]:
        """Everything that must never depend on what happened to the processes."""
        database = self.folder / "dbs/candles_1m.db"
        files = files_of(self.folder / "manifest.sqlite")
        root = self.folder / "incoming"
        there = {path.relative_to(root).as_posix() for path in root.rglob("[!.]*.csv")}
        assert there == {row[-1] for row in files}, "a chunk without a row, or the other way round"
        return {"candles": candles_of(database), "empty": empty_of(database), "files": files}


def test_an_ingester_killed_at_fault_points_and_by_the_clock(
    tmp_path: Path, exchange: FakeExchange, capsys: pytest.CaptureFixture[str]
) -> None:
    market = exchange.market
    end_ms = market.now_ms
    log = tmp_path / "points"
    whole = Ingester(tmp_path / "whole", exchange)
    market.now_ms = end_ms - AGAIN_MS
    whole.start(log=log)
    whole.ingest()
    market.now_ms = end_ms
    whole.ingest()
    whole.kill()
    wanted = whole.result()
    assert len(wanted["files"]) == 2 * ((DAYS * 1440 - 2520) // 300)
    points = [point for point in log.read_text().split() if not point.startswith("ledger.migrate")]
    assert len(points) >= 8
    rng = random.Random(5)
    ingester = Ingester(tmp_path / "killed", exchange)
    plans = [f"{point}:{hit}" for hit in (1, 4) for point in points]
    n_faults = n_clock = 0
    for step, plan in enumerate([*plans, *[None] * N_INGESTER_KILLS]):
        # The market goes on meanwhile.
        n_steps = len(plans) + N_INGESTER_KILLS
        market.now_ms = START_MS + HOUR_MS + (end_ms - START_MS - HOUR_MS) * step // n_steps
        n_asked, n_looks = exchange.n_data, exchange.asked["/api/v3/time"]
        ingester.start(fault=plan)
        assert ingester.process is not None
        deadline_s = time.monotonic() + LIMIT_S
        # By the clock: some time after its first request. At a point: until it is killed, or has looked at both
        # series so often that the point will not come any more.
        while not ingester.is_dead:
            if plan is None and exchange.n_data != n_asked:
                break
            if plan is not None and exchange.asked["/api/v3/time"] >= n_looks + 12:
                break
            assert time.monotonic() < deadline_s, ingester.said()
            time.sleep(0.005)
        if plan is None:
            time.sleep(rng.uniform(0.0, 0.3))
        is_dead = ingester.is_dead
        n_faults += is_dead
        n_clock += not is_dead
        ingester.kill()
        assert ingester.process.returncode == -signal.SIGKILL, ingester.said()
    market.now_ms = end_ms - AGAIN_MS
    ingester.start()
    ingester.ingest()
    market.now_ms = end_ms
    ingester.ingest()
    ingester.kill()
    assert ingester.result() == wanted
    assert n_faults + n_clock >= 20
    assert n_faults >= len(points)
    with capsys.disabled():
        print(f"\ningester: {n_faults} kills at {len(points)} fault points, {n_clock} by the clock")
