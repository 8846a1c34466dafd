"""What the loop costs apart from training: bars/s embedded and over loopback, microseconds a bar, milliseconds a trade.

    python benchmarks/bench_loop_overhead.py [--candles FILE.csv.gz] [--bars 100000]

A preset sparse in trades and the default ones run over the same bars. Before any time is printed, batches of 1, 37 and
1000 bars and both ways to reach the services must have given identical files.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from mei.model.bars import interval_ms
from services.backtest_runner.app.service import Hooks, RunReport, run_loop
from services.backtest_runner.app.settings import Settings

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.machine import REAL_YEAR, stamp  # noqa: E402


def main() -> None:
    """Check, measure, print, store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candles", type=Path, default=REAL_YEAR, help="1m candles of BTC/USDT")
    parser.add_argument("--bars", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "results" / "loop_overhead.json"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mei-bench-") as scratch:
        bench = Bench(Path(scratch), args.candles, args.bars)
        bench.check_batches()
        result = bench.measure(args.repeats)
    result |= stamp()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    print(json.dumps(result, indent=2, sort_keys=True))


class Bench:
    """Runs the loop in scratch folders."""

    def __init__(self, scratch: Path, candles: Path, n_bars: int) -> None:
        self.scratch = scratch
        self.n_bars = n_bars
        self.n_runs = 0
        target = scratch / "research" / "BTC_USDT" / "1m"
        target.mkdir(parents=True)
        shutil.copy(candles, target / candles.name)
        self.first_ms = self._first_ms()
        self.sparse_config = self._config("sparse", {"lookback": 500, "breakout_bps": 30,
            "stop_bps": 500, "take_profit_bps": 1000, "max_hold_bars": 2880})  # fmt: skip

    def check_batches(self) -> None:
        """Per-bar, batch 37 and batch 1000 queries, and loopback, give identical files."""
        n_bars = min(6_000, self.n_bars)
        files = {
            size: self.files(self.run(ROOT / "config", "thompson", n_bars, batch_bars=size))
            for size in (1, 37, 1000)
        }
        with Loopback(self.scratch / "loopback-check", ROOT / "config") as services:
            report = self.run(ROOT / "config", "thompson", n_bars, services=services)
            files["loopback"] = self.files(report)
        first, *others = files.values()
        if any(other != first for other in others):
            raise SystemExit("batch sizes or transports gave different files: nothing is measured")
        print(f"identical files for batch 1, 37, 1000 and loopback over {n_bars} bars")

    def measure(self, repeats: int) -> dict[str, object]:
        """Medians over `repeats`, embedded and loopback, sparse and default presets."""
        result: dict[str, object] = {"bars": self.n_bars, "repeats": repeats}
        sparse = [self.run(self.sparse_config, "fixed:sparse", self.n_bars) for _ in range(repeats)]
        busy = [self.run(ROOT / "config", "thompson", self.n_bars) for _ in range(repeats)]
        result["embedded"] = figures(sparse, busy)
        looped = []
        for number in range(repeats):
            with Loopback(self.scratch / f"loopback-{number}", self.sparse_config) as services:
                looped.append(
                    self.run(self.sparse_config, "fixed:sparse", self.n_bars, services=services)
                )
        result["loopback"] = figures(looped, [])
        return result

    def run(
        self,
        config: Path,
        policy: str,
        n_bars: int,
        *,
        batch_bars: int = 1000,
        services: Loopback | None = None,
    ) -> RunReport:
        """One run in folders of its own (or those of the services it talks to)."""
        self.n_runs += 1
        folder = services.folder if services else self.scratch / f"run-{self.n_runs}"
        settings = Settings.load(
            research_dir=self.scratch / "research",
            results_dir=self.scratch / f"results-{self.n_runs}",
            ledger_db=str(folder / "manifest.sqlite"),
            data_incoming=folder / "incoming",
            models_dir=folder / "models",
            config_dir=config,
            policy=policy,
            batch_bars=batch_bars,
            end_ts=str(self.first_ms + n_bars * interval_ms("1m")),
            ml_service=services.urls["ml_service"] if services else "",
            param_controller=services.urls["param_controller"] if services else "",
        )
        hooks = Hooks(
            on_line=lambda _: None,
            on_progress=lambda _: None,
            on_start=lambda _: None,
            should_stop=lambda: False,
        )
        return asyncio.run(run_loop(settings, hooks))

    def files(self, report: RunReport) -> tuple[bytes, bytes]:
        """The bytes that may not differ."""
        return tuple((report.folder / name).read_bytes() for name in ("equity.csv", "trades.csv"))  # type: ignore[return-value]

    def _first_ms(self) -> int:
        from mei.data.research import scan_series

        scan = scan_series(self.scratch / "research", "BTC/USDT", "1m", "keep", None, None)
        self.n_bars = min(self.n_bars, scan.n_bars)
        return scan.first_ms

    def _config(self, name: str, values: dict[str, float]) -> Path:
        """A copy of the project's config whose schema has one preset more; bounds stay as they are."""
        import yaml

        folder = self.scratch / f"config-{name}"
        shutil.copytree(ROOT / "config", folder)
        path = folder / "strategy_schemas" / "momentum_breakout.yaml"
        schema = yaml.safe_load(path.read_text())
        schema["presets"][name] = values
        path.write_text(yaml.safe_dump(schema, sort_keys=False))
        return folder


class Loopback:
    """Both services as processes on loopback."""

    def __init__(self, folder: Path, config: Path) -> None:
        from tests.survival.stack import SERVICES, Stack

        self.folder = folder
        self.stack = Stack(
            folder,
            {
                "LEDGER_DB": str(folder / "manifest.sqlite"),
                "DATA_INCOMING": str(folder / "incoming"),
                "MODELS_DIR": str(folder / "models"),
                "CONFIG_DIR": str(config),
            },
        )
        self.urls = {name: f"http://127.0.0.1:{self.stack.ports[name]}" for name in SERVICES}

    def __enter__(self) -> Loopback:
        self.stack.start_services()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.stop()


def figures(sparse: list[RunReport], busy: list[RunReport]) -> dict[str, object]:
    """Medians of bars/s apart from trainings; the cost of a trade from the difference to the busy runs."""
    rate = statistics.median(r.n_bars / (r.loop_s - r.timing.train_s) for r in sparse)
    found: dict[str, object] = {
        "bars_per_s_apart_from_training": round(rate),
        "us_per_bar": round(1e6 / rate, 2),
        "closed_trades": sparse[0].n_trades,
        "bars_per_closed_trade": round(sparse[0].n_bars / max(1, sparse[0].n_trades)),
        "train_s": round(statistics.median(r.timing.train_s for r in sparse), 2),
        "fit_s": round(statistics.median(r.timing.fit_s for r in sparse), 2),
    }
    if busy:
        apart_s = statistics.median(r.loop_s - r.timing.train_s for r in busy)
        extra = busy[0].n_trades - sparse[0].n_trades
        found["default_presets_closed_trades"] = busy[0].n_trades
        found["ms_per_closed_trade"] = round(1e3 * (apart_s - busy[0].n_bars / rate) / extra, 3)
        found["default_presets_bars_per_s"] = round(busy[0].n_bars / apart_s)
    return found


if __name__ == "__main__":
    main()
