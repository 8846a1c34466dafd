"""One image for all tests, candles, and the embedded run that every composed one is compared with."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mei.data.sample import write_sample
from tests.e2e.composed import ROOT, Composed, docker, why_no_engine
from tests.survival.conftest import SMALL
from tests.survival.stack import RUNNER, Stack

_HERE = Path(__file__).parent
_MAKE_BASE_IMAGE = ROOT / ".." / "shared" / "docker" / "make-base-image"
EMBEDDED_ONLY = ("RESEARCH_DIR", "RESULTS_DIR")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here that needs containers is slow."""
    for item in items:
        if _HERE in item.path.parents and "image" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def engine() -> None:
    """Skip, with the reason, where there is no Docker engine; in CI that is a failure."""
    reason = why_no_engine()
    if reason is None:
        return
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"CI must have a Docker engine: {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="session")
def image(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The image of this checkout under a name of its own."""
    if not docker("images", "-q", "python:3.11-slim") and _MAKE_BASE_IMAGE.exists():
        subprocess.run([_MAKE_BASE_IMAGE], check=True, capture_output=True)
    name = f"mei-backtester:e2e-{uuid.uuid4().hex[:10]}"
    docker("volume", "create", name.replace(":", "-"))
    Composed(tmp_path_factory.mktemp("build"), name, ROOT).compose("build")
    yield name
    docker("volume", "rm", name.replace(":", "-"), check=False)
    docker("rmi", name, check=False)


@pytest.fixture(scope="session")
def research(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four days of the sample."""
    folder = tmp_path_factory.mktemp("candles") / "research"
    write_sample(folder, symbols=("BTC/USDT", "ETH/USDT"), days=4)
    return folder


@pytest.fixture
def composed(tmp_path: Path, image: str, research: Path) -> Iterator[Composed]:
    """A project with the small settings, removed with its volumes afterwards."""
    made = Composed(tmp_path / "stack", image, research, dict(SMALL))
    yield made
    made.down()


@pytest.fixture(scope="session")
def embedded(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Path, dict[str, str]], dict[str, bytes]]:
    """The outputs of the same run in one process on this machine, without containers."""

    def run(research: Path, settings: dict[str, str]) -> dict[str, bytes]:
        own = {name: value for name, value in settings.items() if name not in EMBEDDED_ONLY}
        stack = Stack(
            tmp_path_factory.mktemp("embedded"),
            {**own, "RESEARCH_DIR": str(research)},
            embedded=True,
        )
        stack.start(RUNNER)
        assert stack.finish() == 0, stack.log_of(RUNNER)
        return stack.outputs()

    return run
