"""The Compose stack under a name of its own, on folders of its own, for a test to run and to disturb."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.ports import free_port

ROOT = Path(__file__).parents[2]
RUNNER, ML, PARAMS = "backtest_runner", "ml_service", "param_controller"
FILES = ("compose.yml", "compose.autotrain.yml", "compose.backtest.yml")
OUTPUTS = ("equity.csv", "trades.csv", "trainings.jsonl", "summary.json", "report.html")
LIMIT_S = 300.0
#: An image from nothing, on a machine that is busy with other work.
BUILD_LIMIT_S = 1200.0
#: What the containers may inherit from whoever runs the tests: how to reach the engine, and nothing else.
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "DOCKER_HOST", "DOCKER_CONFIG", "PYTHON_IMAGE")


def compose_command() -> list[str]:
    """COMPOSE of the environment, else Compose v2 where there is one, else v1."""
    given = os.environ.get("COMPOSE")
    if given:
        return shlex.split(given)
    v2 = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ["docker", "compose"] if v2.returncode == 0 else ["docker-compose"]


def why_no_engine() -> str | None:
    """None when a Docker engine answers and Compose is there, else what is missing."""
    if shutil.which("docker") is None:
        return "no docker client on PATH"
    asked = subprocess.run(["docker", "version"], capture_output=True, text=True, check=False)
    if asked.returncode != 0:
        return f"no Docker engine answers: {asked.stderr.strip().splitlines()[-1]}"
    if shutil.which(compose_command()[0]) is None:
        return f"{compose_command()[0]} is not on PATH"
    return None


def docker(*arguments: str, check: bool = True) -> str:
    """What a docker command prints on stdout; AssertionError with its stderr if it fails."""
    done = subprocess.run(
        ["docker", *arguments], capture_output=True, text=True, check=False, timeout=LIMIT_S
    )
    assert done.returncode == 0 or not check, f"docker {arguments}: {done.stderr}"
    return done.stdout.strip()


@dataclass
class Composed:
    """One project. `settings` are what a user would give on the command line."""

    folder: Path
    image: str
    research: Path
    settings: dict[str, str] = field(default_factory=dict)
    project: str = field(default_factory=lambda: f"mei{uuid.uuid4().hex[:10]}")
    ports: dict[str, int] = field(default_factory=lambda: {ML: free_port(), PARAMS: free_port()})

    @property
    def results(self) -> Path:
        """Where the runner's outputs come out on the host."""
        return Path(self.settings.get("RESULTS_DIR", self.folder / "results"))

    def environment(self, settings: Mapping[str, str] | None = None) -> dict[str, str]:
        """A clean environment: a setting of the developer's shell must not change a test."""
        (self.folder / "results").mkdir(parents=True, exist_ok=True)
        env = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        uid, gid = (os.getuid(), os.getgid()) if os.getuid() else (1000, 1000)
        return {
            **env,
            "COMPOSE_PROJECT_NAME": self.project,
            "MEI_IMAGE": self.image,
            "COMPOSE_FILE": ":".join((*FILES, "tests/e2e/compose.cache.yml")),
            "E2E_CACHE": self.image.replace(":", "-"),
            "UID": str(uid),
            "GID": str(gid),
            "RESEARCH_DIR": str(self.research),
            "RESULTS_DIR": str(self.folder / "results"),
            "ML_SERVICE_PORT": str(self.ports[ML]),
            "PARAM_CONTROLLER_PORT": str(self.ports[PARAMS]),
            **self.settings,
            **(settings or {}),
        }

    def compose(
        self, *arguments: str, settings: Mapping[str, str] | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """One Compose command; its output is text, its stderr joined to stdout."""
        done = subprocess.run(
            [*compose_command(), *arguments],
            cwd=ROOT,
            env=self.environment(settings),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=BUILD_LIMIT_S if "build" in arguments else LIMIT_S,
        )
        assert done.returncode == 0 or not check, f"{arguments}:\n{done.stdout[-4000:]}"
        return done

    def run(self, **settings: str) -> str:
        """A whole run by `run --rm`, which waits for what it depends on; what was printed."""
        return self.compose("run", "--rm", RUNNER, settings=settings).stdout

    def up(self, **settings: str) -> None:
        """`up`, which renews services whose settings changed (`run` of v1 does not), to the end of the run."""
        self.compose("up", "-d", settings=settings)
        runner = self.container(RUNNER)
        wait_for(lambda: not state(runner)["Running"], "the run ends")
        assert state(runner)["ExitCode"] == 0, docker("logs", runner)

    def container(self, service: str) -> str:
        """Id of the service's container, running or not."""
        return self.compose("ps", "-a", "-q", service).stdout.split()[-1]

    def outputs(self) -> dict[str, bytes]:
        """The files whose bytes must never depend on where or how the loop ran."""
        return {name: (self.results / name).read_bytes() for name in OUTPUTS}

    def ledger(self) -> Path:
        """A copy of the ledger (with its write-ahead log) as it lies in the volume."""
        copy = self.folder / f"ledger-{uuid.uuid4().hex[:6]}"
        docker("cp", f"{self.container(ML)}:/shared", str(copy))
        return copy / "manifest.sqlite"

    def url(self, service: str) -> str:
        """Where the service answers on the host."""
        return f"http://127.0.0.1:{self.ports[service]}"

    def down(self) -> None:
        """Remove containers, networks and volumes, whatever state they are in."""
        self.compose("down", "-v", "--remove-orphans", "-t", "1", check=False)


def state(container: str) -> dict[str, Any]:
    """State of a container as the engine sees it."""
    found: dict[str, Any] = json.loads(docker("inspect", "-f", "{{json .State}}", container))
    return found


def wait_for(condition: Any, what: str, limit_s: float = LIMIT_S) -> None:
    """Poll until `condition()` holds; AssertionError naming `what` after the limit."""
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {limit_s:.0f} s: {what}"
        time.sleep(0.1)
