"""The README's curl lines are run against the composed services, and answer what the README prints."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.composed import ML, PARAMS, Composed
from tests.e2e.readme import asked

#: The run's id changes with the sources; a training of the live stream is asked as of now.
_RUN_ID = re.compile(r"backtest/[0-9a-f]{12}")
_NOW = re.compile(r'("stream": ?"live".{0,80}?"as_of_ms": ?)\d+', re.DOTALL)


def parsed(text: str) -> Any:
    return json.loads(_NOW.sub(r"\g<1>0", _RUN_ID.sub("backtest/run", text)))


def approximately(answer: Any) -> Any:
    """The answer with its floats compared to nine digits, everything else exactly."""
    if isinstance(answer, dict):
        return {name: approximately(value) for name, value in answer.items()}
    if isinstance(answer, list):
        return [approximately(value) for value in answer]
    return pytest.approx(answer, rel=1e-9) if isinstance(answer, float) else answer


def test_readme_curl_lines_answer_what_is_printed(composed: Composed, tmp_path: Path) -> None:
    composed.research = tmp_path / "empty"
    composed.research.mkdir()
    composed.settings = {"SYMBOLS": "BTC/USDT,ETH/USDT", "CHUNK_ROWS": "360"}
    composed.run()
    (composed.folder / "research").symlink_to(composed.research)
    for port, service in ((8003, ML), (8002, PARAMS)):
        assert f"localhost:{port}" in "".join(one.command for one in asked()), service
    variables = ""
    for one in asked():
        command = (variables + one.command).replace(
            "localhost:8003", f"localhost:{composed.ports[ML]}"
        )
        command = command.replace("localhost:8002", f"localhost:{composed.ports[PARAMS]}")
        variables += "".join(re.findall(r"^[A-Z]+=.*\n", one.command, re.MULTILINE))
        done = subprocess.run(
            ["bash", "-euc", command],
            cwd=composed.folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert parsed(done.stdout) == approximately(parsed(one.answer)), one.command
    told = " ".join(one.command for one in asked())
    assert all(route in told for route in ("/train", "/params/", "/predict", "/model"))
