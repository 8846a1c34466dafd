"""What a sweep is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from mei.model.semantics import STRICT, Semantics
from mei.workflows.market import MarketRequest
from mei.workflows.strategy import DEFAULT_CONFIG, MEI_ALPHA

PRODUCTION, IDENTICAL = "production", "identical-symbol-universe"
PARITY_MODES: Final = (PRODUCTION, IDENTICAL)


@dataclass(frozen=True, slots=True)
class TpeTerms:
    """A guided search. n_trials in all; batch: how many are asked for at a time; seed: of everything random."""

    n_trials: int = 5000
    batch: int = 256
    seed: int = 42


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """What the command line asks for.

    threads None = one per CPU. top_n: rows of the printed table. n_rerun: of the best, how many are run again with
    curve and trades. chunk_size: combinations between two entries of the journal, None = by their work. ledger: URL or
    path of the manifest that counts trials, None = as the environment has it. scheduler: address of a Dask cluster,
    `local` for one of its own, None = threads. tpe: search instead of running every combination. device: cpu, gpu, or
    auto (a card where one can be used). revision: of the
    checkout the program is run from.
    """

    spec: str
    market: MarketRequest = field(default_factory=MarketRequest)
    config: str = DEFAULT_CONFIG
    live: bool = False
    strategy: str = MEI_ALPHA
    semantics: Semantics = STRICT
    initial_balance_usd: float = 10_000.0
    balance_from: str | None = None
    output: str = "sweep_results.jsonl"
    threads: int | None = None
    top_n: int = 10
    n_rerun: int = 3
    parity_mode: str = PRODUCTION
    chunk_size: int | None = None
    ledger: str | None = None
    scheduler: str | None = None
    tpe: TpeTerms | None = None
    revision: str = "unknown"
    device: str = "cpu"
