"""What a run of the factory is asked for, and which of it must be the same when it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from mei import __version__
from mei.jit import sources_hash
from mei.model.errors import ConfigError
from mei.workflows.strategy import DEFAULT_CONFIG
from mei.workflows.validate.splits import DEFAULT_SPLITS, Split


@dataclass(frozen=True, slots=True)
class Profile:
    """How much work a run is. n_trials: of a search; n_candidates: of the ranking, named in the selection;
    per_mode, max_rank: how many are taken for each order of the rows, and down to which rank."""

    n_trials: int
    n_candidates: int
    per_mode: int
    max_rank: int


PROFILES: Final = {
    "smoke": Profile(2000, 2, 3, 20),
    "daily": Profile(5000, 3, 10, 50),
    "deep": Profile(500_000, 5, 20, 200),
}


@dataclass(frozen=True, slots=True)
class ChecksAsked:
    """Which validations every candidate goes through, and their thresholds.

    symbol_sets: texts `NAME=PATH` of lists whose share is told. Levels in basis points, the first is the baseline;
    shares are fractions, a threshold of 0 or less asks nothing.
    """

    walk_forward: bool = True
    slippage_stress: bool = True
    concentration: bool = True
    sensitivity: bool = True
    monte_carlo: bool = True
    symbol_sets: Sequence[str] = ()
    splits: Sequence[Split] = DEFAULT_SPLITS
    min_test_days: float = 1.0
    levels_bps: Sequence[float] = (10.0, 20.0, 30.0)
    reject_bps: float = 20.0
    max_top1_frac: float = 0.65
    max_top5_frac: float = 0.90
    min_symbols: int = 5


@dataclass(frozen=True, slots=True)
class DeployAsked:
    """How the choice goes to the paper trader; the flags of paper_deploy. reason None = told by the run."""

    yaml_path: str
    reason: str | None = None
    restart: str = "auto"
    service: str | None = None
    ws_service: str | None = None
    pause_file: str | None = None
    pause_mode: str = "close_only"
    leave_paused: bool = False
    verify_sleep_s: float = 2.0
    dry_run: bool = False
    validate: bool = True


@dataclass(frozen=True, slots=True)
class FactoryRequest:
    """What the command line asks for.

    run_id None = nightly_<time>. candles_db: files, or folders that stand for their candles_*.db. deploy None = the
    choice is only reported. require_dsr: reject what does not survive the number of trials; require_profit: what loses
    money. ledger, threads, device,
    revision: as of a sweep. seed: of the search and of the Monte Carlo draws.
    """

    sweep_spec: str
    run_id: str | None = None
    profile: str = "daily"
    artifacts_dir: str = "artifacts"
    config: str = DEFAULT_CONFIG
    strategy_mode: str | None = None
    interval: str | None = None
    candles_db: str = "candles_dbs"
    funding_db: str | None = None
    device: str = "cpu"
    tpe: bool = False
    seed: int = 42
    min_trades: int = 20
    checks: ChecksAsked = field(default_factory=ChecksAsked)
    data_checks: bool = True
    require_dsr: bool = False
    require_profit: bool = False
    deploy: DeployAsked | None = None
    resume: bool = False
    ledger: str | None = None
    registry_db: str | None = None
    threads: int | None = None
    discord_target: str | None = None
    revision: str = "unknown"

    @property
    def size(self) -> Profile:
        """The numbers of the profile. ConfigError for one that is none."""
        if self.profile not in PROFILES:
            raise ConfigError(f"--profile must be {', '.join(PROFILES)}, was {self.profile!r}")
        return PROFILES[self.profile]

    def core(self) -> dict[str, Any]:
        """What results depend on, as JSON: a run goes on only with the same.

        Where and whether the choice is deployed, how many threads work and who is told may differ.
        """
        return {
            "profile": self.profile,
            "config": self.config,
            "strategy_mode": self.strategy_mode,
            "sweep_spec": self.sweep_spec,
            "interval": self.interval,
            "candles_db": self.candles_db,
            "funding_db": self.funding_db,
            "device": self.device,
            "tpe": self.tpe,
            "seed": self.seed,
            "min_trades": self.min_trades,
            "checks": _plain(asdict(self.checks)),
            "data_checks": self.data_checks,
            "require_dsr": self.require_dsr,
            "require_profit": self.require_profit,
            "ledger": self.ledger,
            "release": __version__,
            "kernels": sources_hash(),
        }


def _plain(value: Any) -> Any:
    """Tuples as lists: what reads back equal from JSON."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, (list, tuple)) else value
