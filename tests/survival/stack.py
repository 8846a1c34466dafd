"""The loop as three real processes on loopback that a test may kill at any moment and start again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
RUNNER, ML, PARAMS = "backtest_runner", "ml_service", "param_controller"
SERVICES = (ML, PARAMS)
_LIMIT_S = 180.0


@dataclass
class Stack:
    """Folders, ports and processes of one loop. `embedded`: the runner carries the services itself."""

    folder: Path
    settings: dict[str, str]
    embedded: bool = False
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    fault_logs: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ports = {name: free_port() for name in SERVICES}

    def environment(self, fault: str | None = None, log: Path | None = None) -> dict[str, str]:
        """A clean environment with this stack's folders, the given settings, and maybe a fault plan."""
        env = {
            name: value
            for name, value in os.environ.items()
            if name in ("PATH", "HOME", "LANG", "VIRTUAL_ENV", "TMPDIR")
        }
        env |= {
            "RESULTS_DIR": str(self.folder / "results"),
            "LEDGER_DB": str(self.folder / "shared" / "manifest.sqlite"),
            "DATA_INCOMING": str(self.folder / "incoming"),
            "MODELS_DIR": str(self.folder / "models"),
            "CONFIG_DIR": str(ROOT / "config"),
            "PYTHONUNBUFFERED": "1",
        }
        env |= self.settings
        if not self.embedded:
            env["ML_SERVICE"] = f"http://127.0.0.1:{self.ports[ML]}"
            env["PARAM_CONTROLLER"] = f"http://127.0.0.1:{self.ports[PARAMS]}"
        if fault is not None:
            env["MEI_FAULT"] = fault
        if log is not None:
            env["MEI_FAULT_LOG"] = str(log)
        return env

    def start(self, name: str, fault: str | None = None, log: Path | None = None) -> None:
        """Start one process; its output goes to <folder>/<name>.log."""
        if name == RUNNER:
            command = [str(Path(sys.executable).parent / "mei-backtester"), "loop"]
        else:
            command = [sys.executable, "-m", f"services.{name}.app.main"]
            command += ["--port", str(self.ports[name])]
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{name}.log").open("ab") as output:
            self.processes[name] = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment(fault, log),
                stdout=output,
                stderr=output,
            )

    def start_services(self) -> None:
        """Start both services, one after the other, so that one of them makes the ledger."""
        for name in SERVICES:
            self.start(name)
            self.wait_ready(name)

    def wait_ready(self, name: str) -> None:
        """Wait until the service answers; fail with its log when it does not."""
        deadline_s = time.monotonic() + _LIMIT_S
        while time.monotonic() < deadline_s:
            if self.processes[name].poll() is not None:
                raise AssertionError(f"{name} ended:\n{self.log_of(name)[-3000:]}")
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/health", timeout=2)
                return
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise AssertionError(f"{name} is not ready after {_LIMIT_S} s")

    def log_of(self, name: str) -> str:
        """What the process has printed over all its lives."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def kill(self, name: str) -> None:
        """SIGKILL, and wait until it is gone."""
        process = self.processes[name]
        process.send_signal(signal.SIGKILL)
        process.wait()

    def is_dead(self, name: str) -> bool:
        """Whether the process has ended, by itself or by a fault."""
        return self.processes[name].poll() is not None

    def finish(self) -> int:
        """Wait for the runner; its exit code."""
        return self.processes[RUNNER].wait(_LIMIT_S)

    def outputs(self) -> dict[str, bytes]:
        """The files whose bytes must never depend on what happened to the processes."""
        names = ("equity.csv", "trades.csv", "trainings.jsonl", "summary.json", "report.html")
        return {name: (self.folder / "results" / name).read_bytes() for name in names}

    def stop(self) -> None:
        """End whatever still runs."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait()
