"""A recorded feed, the paper trader as a process of its own, and the programs around it, run as a user does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.paper_trader.market import CONFIG, HOUR_MS, START_MS, Market
from tests.ports import free_port

ROOT = Path(__file__).parents[2]
LIMIT_S = 240.0
SPEC = """
axes:
- {path: trade.sl_atr_mult, values: [1.2, 2.0]}
- {path: trade.enable_pyramiding, values: [0, 1]}
- {path: trade.tp_atr_mult, values: [1.2, 2.5]}
lookback: 30
"""


def hour_ms(number: int) -> int:
    """When the bars of an hour of the feed are known."""
    return START_MS + number * HOUR_MS


def wait_for(is_so: Callable[[], bool], what: str, limit_s: float = LIMIT_S) -> None:
    """Until it is so; AssertionError when it never is."""
    deadline_s = time.monotonic() + limit_s
    while not is_so():
        assert time.monotonic() < deadline_s, f"never: {what}"
        time.sleep(0.05)


@dataclass
class House:
    """A working directory with a strategy file, a spec and a feed of which nothing has come yet."""

    folder: Path
    market: Market
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.folder / "config").mkdir(parents=True)
        self.strategy.write_text(CONFIG)
        (self.folder / "spec.yaml").write_text(SPEC)

    @property
    def strategy(self) -> Path:
        """The strategy file."""
        return self.folder / "config" / "strategy_overrides.yaml"

    @property
    def trading_db(self) -> Path:
        """The trading database."""
        return self.folder / "trading_engine.db"

    def run(self, *line: str, code: int = 0, answer: str = "") -> subprocess.CompletedProcess[str]:
        """`mei-backtester` or, with a name that ends in .py, a tool; AssertionError for another exit code."""
        program = Path(sys.executable).with_name("mei-backtester")
        command = [str(program), *line]
        if line[0].endswith(".py"):
            command = [sys.executable, str(ROOT / "tools" / line[0]), *line[1:]]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, **self.environment},
            input=answer,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{line}: {done.returncode}\n{done.stderr}"
        return done

    def replay(self, output: str, *more: str) -> dict[str, Any]:
        """The report of a replay of the strategy file over the feed's hours, with trades and curve."""
        line = ("replay", "--config", "config/strategy_overrides.yaml", "--interval", "1h")
        line += ("--lookback", "30", "--trades", "--equity-curve", "--output", output)
        self.run(*line, *more)
        report: dict[str, Any] = json.loads((self.folder / output).read_text())
        return report


class Trader:
    """paper_trader, started in a house; the time is the feed's."""

    def __init__(self, house: House) -> None:
        self._house = house
        port = free_port()
        self._url = f"http://127.0.0.1:{port}"
        environment = {
            **os.environ,
            **house.environment,
            "PYTHONPATH": str(ROOT),
            "PAPER_CLOCK": "feed",
            "PAPER_INTERVAL": "1h",
            "PAPER_LOOKBACK": "30",
            "POLL_SECONDS": "0.05",
            "BAR_GRACE_SECONDS": "0",
        }
        log = (house.folder / "trader.log").open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "services.paper_trader.app.main", "--port", str(port)],
            cwd=house.folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
        log.close()
        wait_for(self._answers, "the trader answers")

    def _answers(self) -> bool:
        assert self._process.poll() is None, (self._house.folder / "trader.log").read_text()
        try:
            return httpx.get(f"{self._url}/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def state(self) -> dict[str, Any]:
        """GET /state."""
        found: dict[str, Any] = httpx.get(f"{self._url}/state", timeout=30).json()
        return found

    def trades(self) -> list[dict[str, Any]]:
        """GET /trades, all."""
        found = httpx.get(f"{self._url}/trades", params={"limit": 10_000}, timeout=30)
        assert found.status_code == 200, found.text
        rows: list[dict[str, Any]] = found.json()["trades"]
        return rows

    def come(self, until_ms: int) -> dict[str, Any]:
        """The feed until a moment comes, and the trader has taken it; its state."""
        self._house.market.feed(until_ms)
        wait_for(lambda: self.state()["as_of_ms"] == until_ms, f"the trader is at {until_ms}")
        return self.state()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM."""
        self._process.terminate()
        self._process.wait(60)


def deals(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Rows of /trades as `replayed` gives them."""
    return [
        (
            row["meta"]["timestamp_ms"],
            row["symbol"],
            row["action"] if row["action"] == "FUNDING" else f"{row['action']}_{row['type']}",
            row["price"],
            row["size"],
            row["pnl"],
            row["fee_usd"],
            row["balance"],
            row["reason"],
        )
        for row in rows
    ]


def replayed(report: dict[str, Any]) -> list[tuple[Any, ...]]:
    """The trades of a report, without those that only its end made."""
    keys = ("timestamp", "symbol", "action", "price", "size", "pnl", "fee", "balance", "reason")
    found = [tuple(one[key] for key in keys) for one in report["trades"]]
    return [one for one in found if one[-1] != "End of Backtest"]
