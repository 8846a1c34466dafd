"""What is asked of sweep_worker, and what it answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mei.model.http import MAX_SEED
from mei.workflows.sweep.request import TpeTerms

_MOST_TRIALS = 10_000_000
_MOST_SHOWN = 10_000

Path = Annotated[str, Field(min_length=1, max_length=4096, pattern=r"^[^\x00]+$")]
Yaml = Annotated[str, Field(max_length=16 * 1024 * 1024)]
Word = Annotated[str, Field(min_length=1, max_length=256)]


class Tpe(BaseModel):
    """A guided search, instead of every combination."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trials: int = Field(TpeTerms().n_trials, ge=1, le=_MOST_TRIALS, description="in all")
    batch: int = Field(TpeTerms().batch, ge=1, le=_MOST_TRIALS, description="asked for at a time")
    seed: int = Field(TpeTerms().seed, ge=0, le=MAX_SEED, description="same seed, same trials")


class SweepBody(BaseModel):
    """The flags of `mei-backtester sweep` under their names; paths are those of the worker, below SWEEP_DIRS."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: Path | None = Field(None, description="strategy file; or its text as config_yaml")
    config_yaml: Yaml | None = Field(None, description="text of a strategy file")
    sweep_spec: Path | None = Field(None, description="axes; or their text as sweep_spec_yaml")
    sweep_spec_yaml: Yaml | None = Field(None, description="text of a sweep spec")
    candles_db: Path | None = Field(
        None,
        description="files or folders, comma-separated; default: candles_dbs/candles_<interval>.db",
    )
    interval: Word | None = Field(None, description="default: the strategy file's, or 1h")
    exit_candles_db: Path | None = None
    exit_interval: Word | None = None
    entry_candles_db: Path | None = None
    entry_interval: Word | None = None
    funding_db: Path | None = None
    start_ts: Word | None = Field(None, description="a moment, a day or an epoch")
    end_ts: Word | None = Field(None, description="a moment, a day or an epoch")
    no_auto_scope: bool = False
    universe_filter: bool = False
    universe_db: Path | None = None
    initial_balance: float = Field(10_000.0, allow_inf_nan=False, description="USD")
    live: bool = Field(False, description="apply the `live` layer of the strategy file")
    semantics: Word = "strict"
    strategy: Word = "mei_alpha"
    device: Literal["cpu", "gpu", "auto"] = Field(
        "cpu", description="gpu without a usable card fails; auto says what it chose"
    )
    on_cluster: bool = Field(False, description="on the workers of SWEEP_SCHEDULER")
    parity_mode: Literal["production", "identical-symbol-universe"] = "production"
    tpe: Tpe | None = None
    chunk_size: int | None = Field(
        None, ge=1, le=2**40, description="combinations between two entries of the journal"
    )
    top_n: int = Field(10, ge=0, le=_MOST_SHOWN, description="rows of the table among `lines`")
    rerun: int = Field(3, ge=0, le=_MOST_SHOWN, description="of the best, with curve and trades")

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        for name in ("config", "sweep_spec"):
            given = [getattr(self, key) is not None for key in (name, f"{name}_yaml")]
            if sum(given) != 1:
                found = "both were" if all(given) else "neither was"
                raise ValueError(f"either {name} or {name}_yaml must be given, {found}")
        return self


class BestRow(BaseModel):
    """The row that comes first so far."""

    config_id: str
    overrides: dict[str, float]
    total_pnl: float


class SweepSummary(BaseModel):
    """A sweep in the list of all. Times are epoch ms UTC, rates rows a second of the worker that has it."""

    id: str
    state: Literal["queued", "running", "finished", "failed", "cancelled"]
    reason: str = Field(description="why it failed, else empty")
    rows_done: int
    rows_total: int | None = Field(description="null until it was counted")
    rows_per_s: float | None
    cancel_asked: bool
    attempts: int = Field(description="how many times a worker took it up")
    worker: str | None
    lease_ends_at_ms: int | None
    queued_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None


class SweepView(SweepSummary):
    """A sweep with what it says. lines: the latest 200 told; best: of the rows there are."""

    best: BestRow | None
    lines: list[str]
    request: dict[str, Any]


class SweepList(BaseModel):
    """Every sweep the ledger knows, the newest first."""

    sweeps: list[SweepSummary]
