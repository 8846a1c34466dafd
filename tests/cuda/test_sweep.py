"""A whole sweep with a card: same file, verified on the CPU; and what a card that cannot be trusted leads to."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mei.cli import main
from mei.engines.cuda_device import Card
from mei.engines.mei_alpha import SymbolConfigs
from mei.engines.mei_alpha_cuda import CudaSweep
from mei.engines.mei_alpha_sweep import Sweep
from mei.engines.select import Device
from mei.model.semantics import REFERENCE, STRICT, Semantics
from mei.rules.mei_alpha.keys import DEFAULTS
from mei.workflows.strategy import MEI_ALPHA, MOMENTUM_BREAKOUT, NAMES
from mei.workflows.sweep import device as sweep_device
from mei.workflows.sweep import run
from mei.workflows.sweep.device import choose_device, tell_compiling
from mei.workflows.sweep.plan import plan_sweep, usual_chunk_size
from mei.workflows.sweep.request import SweepRequest
from tests.cuda.compiling import CompilingCard
from tests.cuda.host import HostCard
from tests.oracles.mei_alpha.cases import LOOSE
from tests.sweeps.markets import N_ROWS, sweep_line, write_market
from tests.sweeps.test_mei_alpha_sweep import columns_of, layout, market, random_overrides
from tests.workflows.databases import HOUR_MS, write_candles


@pytest.mark.slow
@pytest.mark.parametrize("semantics", [STRICT, REFERENCE], ids=["strict", "reference"])
def test_packs_batches_and_repeats_leave_the_rows_as_they_are(semantics: Semantics) -> None:
    rng = random.Random(4)
    inputs = market(4, with_sub_bars=True)
    base = dict(DEFAULTS | LOOSE)
    columns = columns_of([random_overrides(rng) for _ in range(120)], base)
    configs = SymbolConfigs(base, {"ETH": base | {"trade.sl_atr_mult": 1.25}})
    card = HostCard()
    sweep = CudaSweep(inputs, configs, semantics, layout, 2, card, first_log=64, most_walks=32)
    found = sweep.run(columns, 120)
    expected = Sweep(inputs, configs, semantics, layout, 2).run(columns, 120)
    assert found.tobytes() == expected.tobytes()
    assert max(card.sizes) == 32
    assert sum(card.sizes) > 120  # some had more trades than room, and ran again
    assert np.median(found["tally"]["trades"]) > 5


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a market."""
    monkeypatch.chdir(tmp_path)
    return write_market(tmp_path)


def use(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine have a card."""
    chosen = Device(card, f"GPU {card.name}, as asked for")
    monkeypatch.setattr(run, "choose_device", lambda request: chosen)


@pytest.mark.slow
def test_a_card_gives_the_file_of_the_cpu_and_is_verified(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(sweep_line("cpu.jsonl")) == 0
    assert "verified" not in capsys.readouterr().err
    card = HostCard()
    use(card, monkeypatch)
    assert main.run(sweep_line("gpu.jsonl", "--gpu")) == 0
    assert (folder / "gpu.jsonl").read_bytes() == (folder / "cpu.jsonl").read_bytes()
    assert sum(card.sizes) == N_ROWS
    said = capsys.readouterr().err
    assert "[sweep] Device: GPU this machine, as asked for" in said
    assert "rows run again there, largest difference 0\n" in said


@pytest.mark.slow
def test_a_card_that_computes_wrongly_is_found_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(HostCard(error_usd=1e-9), monkeypatch)
    assert main.run(sweep_line("gpu.jsonl", "--device", "gpu")) != 0
    assert "rows of a card must be those of the CPU" in capsys.readouterr().err
    assert not (folder / "gpu.jsonl").exists()


MOMENTUM_SPEC = """
axes:
- {path: lookback, values: [5, 20]}
- {path: breakout_bps, values: [0, 30]}
- {path: allow_short, values: [0, 1]}
- {path: stop_bps, values: [0, 150, 300]}
- {path: take_profit_bps, values: [0, 200]}
- {path: max_hold_bars, values: [0, 9]}
"""


def momentum_line(output: str, *more: str) -> list[str]:
    line = (
        f"sweep --strategy momentum_breakout --sweep-spec m.yaml --chunk-size 40 --output {output}"
    )
    return [*line.split(), *more]


@pytest.mark.slow
@pytest.mark.parametrize("symbols", [("ETH",), ("BTC", "ETH")])
def test_a_sweep_of_momentum_breakout_is_verified_likewise(
    symbols: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One symbol, by leaps, and several: the file of the CPU, and none from a card that computes wrongly."""
    monkeypatch.chdir(tmp_path)
    write_candles(tmp_path, "1h", HOUR_MS, 400, symbols=symbols)
    Path("m.yaml").write_text(MOMENTUM_SPEC)
    assert main.run(momentum_line("cpu.jsonl")) == 0
    card = HostCard()
    use(card, monkeypatch)
    assert main.run(momentum_line("gpu.jsonl", "--gpu")) == 0
    assert Path("gpu.jsonl").read_bytes() == Path("cpu.jsonl").read_bytes()
    assert sum(card.sizes) == 96
    assert "64 rows run again there, largest difference 0\n" in capsys.readouterr().err
    use(HostCard(error_usd=1e-9), monkeypatch)
    assert main.run(momentum_line("wrong.jsonl", "--gpu")) != 0
    assert "rows of a card must be those of the CPU" in capsys.readouterr().err
    assert not Path("wrong.jsonl").exists()


def chosen_by(wanted: list[str]) -> Callable[[str], Any]:
    def select(device: str) -> Device:
        wanted.append(device)
        return Device(CompilingCard(), "GPU")

    return select


def test_the_device_asked_for_is_the_one_that_is_looked_for() -> None:
    wanted: list[str] = []
    for strategy in NAMES:
        for device in ("cpu", "gpu", "auto"):
            request = SweepRequest("spec.yaml", device=device, strategy=strategy)
            choose_device(request, chosen_by(wanted))
    assert wanted == ["cpu", "gpu", "auto"] * len(NAMES)


def test_where_no_card_can_walk_auto_takes_the_cpu_and_says_why() -> None:
    wanted: list[str] = []
    request = SweepRequest("spec.yaml", device="auto", scheduler="local")
    assert choose_device(request, chosen_by(wanted)).card is None
    assert wanted == []


@pytest.mark.parametrize(
    ("strategy", "n_symbol_bars", "on_cpu", "on_card"),
    [
        (MEI_ALPHA, 1_200, 8_192, 65_536),
        (MEI_ALPHA, 50_000, 1_000, 20_000),
        (MEI_ALPHA, 60 * 8_760, 95, 8_192),
        (MOMENTUM_BREAKOUT, 60 * 8_760, 1_902, 38_040),
        (MOMENTUM_BREAKOUT, 60 * 525_600, 64, 8_192),
    ],
)
def test_a_card_takes_about_a_second_at_a_time(
    strategy: str, n_symbol_bars: int, on_cpu: int, on_card: int
) -> None:
    assert usual_chunk_size(strategy, n_symbol_bars, is_on_card=False) == on_cpu
    assert usual_chunk_size(strategy, n_symbol_bars, is_on_card=True) == on_card


def test_what_was_asked_for_is_a_chunk_on_a_card_too(folder: Path) -> None:
    request = SweepRequest("spec.yaml", config="c.yaml")
    assert plan_sweep(request, len, is_on_card=True).chunk_size == 65_536
    assert plan_sweep(replace(request, chunk_size=100), len, is_on_card=True).chunk_size == 100


def test_a_card_that_compiles_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = plan_sweep(SweepRequest("spec.yaml", config="c.yaml"), len)
    monkeypatch.setattr(sweep_device, "cache_dir", lambda part: folder / part)
    told: list[str] = []
    tell_compiling(plan, Device(None, "CPU"), told.append)
    assert told == []
    card = Device(CompilingCard(), "GPU")
    tell_compiling(plan, card, told.append)
    assert told == ["[sweep] The first run on a card compiles for it, too, up to a minute"]
    (folder / "engines/sm_90").mkdir(parents=True)
    (folder / "engines/sm_90/walk_kernel-0123.cubin").touch()
    tell_compiling(plan, card, told.append)
    assert len(told) == 1
