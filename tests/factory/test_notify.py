"""A webhook that hears of the outcome, and one that does not."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from mei.workflows.factory.notify import post
from tests.factory.conftest import Bench
from tests.factory.market import NOW_MS


class Hook:
    """A webhook on loopback. answer: its HTTP code; heard: the messages."""

    def __init__(self) -> None:
        self.answer = 204
        self.heard: list[Any] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.heard.append(json.loads(body))
                self.send_response(hook.answer)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None:
                """Nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook/secret"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()
    yield found
    found.server.shutdown()
    found.server.server_close()
    found.thread.join()


def test_what_is_told(hook: Hook) -> None:
    said: list[str] = []
    assert post(hook.url, "x" * 3000, said.append)
    assert hook.heard == [{"content": "x" * 2000}]
    assert said == []


def test_a_hook_that_refuses_or_is_away_stops_nothing(hook: Hook) -> None:
    said: list[str] = []
    hook.answer = 403
    assert not post(hook.url, "x", said.append)
    assert not post("http://127.0.0.1:1/hook/secret", "x", said.append)
    assert said[0] == "[factory] The webhook did not take the message: HTTP 403"
    assert len(said) == 2
    assert "secret" not in "".join(said)


def test_a_run_tells_its_outcome_once(bench: Bench, hook: Hook) -> None:
    few = ("--no-deploy", "--no-walk-forward", "--no-slippage-stress", "--no-sensitivity-checks")
    told = ("--discord-target", hook.url)
    assert bench.factory("told", *few, *told) == 0
    assert bench.factory("told", *few, *told, "--resume") == 0
    assert len(hook.heard) == 1
    assert hook.heard[0]["content"].startswith("told: ")
    assert hook.heard[0]["content"].endswith("does not survive its number of trials, not deployed")
    kept = "".join(path.read_text() for path in bench.folder.glob("artifacts/runs/told/*.json"))
    assert "secret" not in kept
    assert bench.factory("none", *few, *told, "--min-symbols-traded", "7") == 2
    assert "a candidate must be left to choose" in hook.heard[1]["content"]


def test_a_run_tells_that_it_failed(bench: Bench, hook: Hook) -> None:
    told = ("--no-deploy", "--discord-target", hook.url)
    assert bench.factory("broken", *told, "--config", "none.yaml") == 2
    (message,) = hook.heard
    assert message["content"].startswith("broken failed: --config must name a file, none.yaml")
    assert bench.factory("broken", *told, "--resume") == 1
    assert len(hook.heard) == 2


def test_a_run_tells_losses_and_what_became_of_paper(bench: Bench, hook: Hook) -> None:
    few = ("--no-walk-forward", "--no-slippage-stress", "--no-sensitivity-checks")
    told = ("--discord-target", hook.url)
    assert bench.factory("told", *few, *told, "--dry-run") == 0
    assert bench.factory("told", *few, *told, "--resume", "--now-ms", str(NOW_MS + 60_000)) == 0
    assert bench.factory("told", *few, *told, "--resume") == 0
    first, second = (one["content"] for one in hook.heard)
    assert first.endswith(", dry run, not deployed")
    assert second.endswith(", deployed to paper, paper.yaml")
    selected = bench.json("artifacts/runs/told/reports/selection.json")["selected"]
    for loss in selected["losses"]:
        assert loss in first
