"""Everything that is known before the first bar: settings, candles, sources, presets, and the run id they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import services
from mei.data.research import SeriesScan, scan_series
from mei.data.sample import SAMPLE_PREFIX
from mei.jit import sources_hash
from mei.loop.identity import folder_sha256, run_id
from mei.model.errors import ConfigError, OutputError
from mei.model.settings import LoopSettings
from mei.strategies.load import LoadedStrategy
from services.backtest_runner.app.settings import Settings


@dataclass(frozen=True, slots=True)
class Candles:
    """Settings that were checked, strategies that were loaded, candles that were scanned."""

    loop: LoopSettings
    strategies: tuple[LoadedStrategy, ...]
    scans: dict[str, SeriesScan]

    @property
    def n_bars(self) -> int:
        """Bars of all instruments."""
        return sum(scan.n_bars for scan in self.scans.values())


@dataclass(frozen=True, slots=True)
class Plan:
    """Candles and everything else that can change a byte of the results.

    presets: strategy -> preset -> parameters, of the strategies the policy can tune.
    """

    candles: Candles
    presets: dict[str, dict[str, dict[str, float]]]
    sources: dict[str, str]
    run_id: str


def scan_candles(settings: Settings, on_line: Callable[[str], None]) -> Candles:
    """Check settings, load strategies, read all candles once. Raises ConfigError, DataError, OutputError."""
    strategies = settings.loaded_strategies()
    loop = settings.loop_settings(strategies)
    if not settings.strategy_yaml.exists():
        on_line(f"{settings.strategy_yaml} is absent: strategies run with their own defaults")
    check_writable(settings.results_dir)
    scans: dict[str, SeriesScan] = {}
    window = (loop.gap_policy, loop.start_ms, loop.end_ms)
    for symbol in loop.symbols:
        scan = scan_series(settings.research_dir, symbol, loop.timeframe, *window)
        on_line(scan.describe())
        is_sample = {file.name.startswith(SAMPLE_PREFIX) for file in scan.files}
        if len(is_sample) > 1:
            on_line(
                f"{scan.folder} holds the synthetic sample beside other candles: remove {SAMPLE_PREFIX}*"
            )
        scans[symbol] = scan
    return Candles(loop, strategies, scans)


def make_plan(candles: Candles, listing: dict[str, Any]) -> Plan:
    """The plan, given what param_controller lists. Raises ConfigError when a strategy has no presets."""
    catalog = _catalog(listing, candles.strategies)
    sources = {
        "mei": sources_hash(),
        "services": folder_sha256(Path(services.__file__).parent),
        **{s.name: s.source_sha256 for s in candles.strategies if s.source_sha256},
    }
    data = {symbol: scan.sha256 for symbol, scan in candles.scans.items()}
    presets = {name: entry["presets"] for name, entry in catalog.items()}
    _check_policy(candles.loop.policy, presets)
    identity = run_id(candles.loop, data, catalog, sources)
    return Plan(candles, presets, sources, identity)


def check_writable(folder: Path) -> None:
    """Raise OutputError, with the remedy, unless files can be made in `folder` (made if absent)."""
    probe = folder / ".write-test"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise OutputError(
            f"RESULTS_DIR must be a folder this user can write to, {folder} is not ({error.strerror}): "
            "change its owner or set RESULTS_DIR"
        ) from error


def _check_policy(policy: str, presets: dict[str, dict[str, dict[str, float]]]) -> None:
    kind, _, preset = policy.partition(":")
    for strategy, known in presets.items():
        if kind == "fixed" and preset not in known:
            raise ConfigError(
                f"POLICY=fixed:<preset> must name a preset of {strategy} ({', '.join(known)}), was {policy!r}"
            )


def _catalog(listing: dict[str, Any], strategies: tuple[LoadedStrategy, ...]) -> dict[str, Any]:
    """Presets and bounds, by strategy, as the schemas have them: what is registered live concerns no backtest.

    A strategy of the user's may do without presets.
    """
    known: dict[str, Any] = listing["strategies"]
    catalog = {}
    for strategy in strategies:
        entry = known.get(strategy.name)
        if entry is not None:
            bounds = {
                name: {key: one[key] for key in ("type", "min", "max")}
                for name, one in entry["parameters"].items()
            }
            catalog[strategy.name] = {"parameters": bounds, "presets": entry["presets"]}
        elif not strategy.source_sha256:
            raise ConfigError(
                f"a built-in strategy must have presets in CONFIG_DIR/strategy_schemas/{strategy.name}.yaml, "
                f"param_controller knows only {', '.join(sorted(known)) or 'none'}: restore the file and start it again"
            )
    return catalog
