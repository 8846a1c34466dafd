"""Runs of the loop through the command line: repeat, finish, rerun, batch sizes, strategies of the user's."""

from __future__ import annotations

import json

import pytest

from mei.cli.main import run
from tests.backtest_runner.conftest import Bench

RESULTS = ("equity.csv", "trades.csv", "trainings.jsonl", "summary.json", "report.html", "run.json")


def test_a_second_start_says_finished_and_changes_nothing(bench: Bench) -> None:
    code, out, _ = bench.loop()
    assert code == 0
    for name in RESULTS:
        assert str(bench.folder / "results" / name) in out
    before = bench.snapshot()
    code, out, _ = bench.loop()
    assert code == 0
    assert "is finished and its outputs verify" in out
    assert bench.snapshot() == before


def test_rerun_repeats_the_bytes_in_a_new_stream(bench: Bench) -> None:
    bench.loop()
    first = bench.outputs()
    code, out, _ = bench.loop(RERUN="true")
    assert code == 0
    assert "attempt 2" in out
    again = bench.outputs()
    for name in ("equity.csv", "trades.csv", "trainings.jsonl", "summary.json", "report.html"):
        assert again[name] == first[name], name
    assert json.loads(again["run.json"])["attempt"] == 2


def test_changed_outputs_of_a_finished_run_are_told(bench: Bench) -> None:
    bench.loop()
    run_id = json.loads(bench.outputs()["run.json"])["run_id"]
    path = bench.folder / "results" / "runs" / run_id / "trades.csv"
    path.write_text("tampered\n")
    code, _, err = bench.loop()
    assert code == 7
    assert "trades.csv" in err
    assert path.read_text() == "tampered\n"


def test_missing_copies_are_put_back(bench: Bench) -> None:
    bench.loop()
    first = bench.outputs()
    (bench.folder / "results" / "equity.csv").unlink()
    assert bench.loop()[0] == 0
    assert bench.outputs() == first


def test_run_id_depends_on_what_can_change_results_and_on_nothing_else(bench: Bench) -> None:
    def run_id(**environment: str) -> str:
        assert bench.loop(**environment)[0] == 0
        return json.loads(bench.outputs()["run.json"])["run_id"]

    first = run_id()
    assert run_id(BATCH_BARS="77") == first
    assert run_id(SERVICE_TIMEOUT_SECONDS="9") == first
    changed = {run_id(FEE_BP="3"), run_id(SEED="7"), run_id(END_TS="2024-01-02T11:00")}
    assert len(changed) == 3
    assert first not in changed


@pytest.mark.slow
def test_batch_sizes_give_identical_files(bench: Bench) -> None:
    found = []
    for size in ("1", "37", "1000"):
        code, _, err = bench.loop(BATCH_BARS=size, RERUN="true")
        assert code == 0, err
        outputs = bench.outputs()
        outputs.pop("run.json")
        found.append(outputs)
    assert found[0] == found[1] == found[2]
    assert found[0]["trades.csv"].count(b"\n") > 10
    assert b'"promoted"' in found[0]["trainings.jsonl"]


def test_first_only_trains_until_the_first_promotion(bench: Bench) -> None:
    assert bench.loop(TRAINING="first_only")[0] == 0
    trainings = [json.loads(line) for line in bench.outputs()["trainings.jsonl"].splitlines()[1:]]
    assert [t["decision"] for t in trainings].count("promoted") == 1
    assert trainings[-1]["decision"] == "promoted"


def test_training_off_means_no_model_and_no_regime_gated_entry(bench: Bench) -> None:
    assert bench.loop(TRAINING="off")[0] == 0
    outputs = bench.outputs()
    assert outputs["trainings.jsonl"].count(b"\n") == 1
    assert outputs["trades.csv"].count(b"\n") == 1


def test_training_latency_delays_the_first_trade(bench: Bench) -> None:
    def first_trade_ms(seconds: str) -> tuple[int, int]:
        assert bench.loop(TRAIN_LATENCY_SECONDS=seconds, END_TS="2024-01-03")[0] == 0
        outputs = bench.outputs()
        promoted = next(
            training
            for training in map(json.loads, outputs["trainings.jsonl"].splitlines()[1:])
            if training["decision"] == "promoted"
        )
        assert promoted["serves_from_ms"] == promoted["as_of_ms"] + int(seconds) * 1000
        return int(outputs["trades.csv"].splitlines()[1].split(b",")[0]), promoted["serves_from_ms"]

    for seconds in ("0", "7200"):
        traded_ms, serves_from_ms = first_trade_ms(seconds)
        assert traded_ms > serves_from_ms


def test_placebo_differs_only_after_the_first_model(bench: Bench) -> None:
    bench.loop()
    real = bench.outputs()
    bench.loop(PLACEBO="shuffled_labels")
    placebo = bench.outputs()
    assert real["trainings.jsonl"] == placebo["trainings.jsonl"], "trainings see the same bars"
    assert real["trades.csv"] != placebo["trades.csv"]


USER_STRATEGY = """
from mei.model.orders import Order
from mei.strategies.base import Strategy

class EveryHour(Strategy):
    defaults = {"hold_bars": 30}

    def on_bar(self, bar, params):
        if self.context.direction and self.context.bars_held >= params["hold_bars"]:
            return Order("close", reason="held")
        if not self.context.direction and bar.close_ms % 3_600_000 == 0:
            return Order("open", direction=1, notional_usd=500.0, reason="hour")
        return None
"""


def test_a_strategy_of_the_users_runs_beside_a_built_in_one(bench: Bench) -> None:
    path = bench.folder / "mine.py"
    path.write_text(USER_STRATEGY)
    code, _, err = bench.loop(
        "--strategy", f"momentum_breakout,{path}:EveryHour", SYMBOLS="BTC/USDT,ETH/USDT"
    )
    assert code == 0, err
    rows = [line.split(b",") for line in bench.outputs()["trades.csv"].splitlines()[1:]]
    books = {(row[1], row[2]) for row in rows}
    assert (b"BTC/USDT", b"every_hour") in books
    assert (b"ETH/USDT", b"every_hour") in books
    hourly = [row for row in rows if row[2] == b"every_hour" and row[3] == b"open"]
    assert all((int(row[0]) - 60_000) % 3_600_000 == 0 for row in hourly), "fills at the next open"
    assert {row[11] for row in hourly} == {b"static"}


def test_flags_mirror_the_settings() -> None:
    import inspect

    from services.backtest_runner.app.cli import loop
    from services.backtest_runner.app.settings import Settings

    flags = set(inspect.signature(loop).parameters) - {"sample_if_empty"}
    assert flags == set(Settings.model_fields)


@pytest.mark.slow
def test_prefix_invariance_command(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.setenv("SYMBOLS", "BTC/USDT,ETH/USDT")
    capsys.readouterr()
    code = run(["verify", "prefix-invariance", "--cuts", "4"])
    out = capsys.readouterr().out
    assert code == 0, out
    assert "prefix invariance holds: 4 bars, 8 runs" in out


def test_prefix_invariance_names_the_row_when_a_feature_peeks(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A planted look-ahead: the policy's context is taken one row later than it should be."""
    from mei.loop.books import SymbolBook

    honest = SymbolBook.feature_columns

    def peeking(self: SymbolBook, first: int, end: int, n_states: int) -> object:
        columns = honest(self, first, end, n_states)
        regimes = self.regimes
        assert regimes is not None
        later = regimes.volatility_z[first + 1 : end + 1]
        columns["volatility_z"] = (later + [0.0] * (end - first))[: end - first]
        return columns

    monkeypatch.setattr(SymbolBook, "feature_columns", peeking)
    capsys.readouterr()
    code = run(["verify", "prefix-invariance", "--cuts", "4"])
    assert code == 7
    assert "must not depend on later bars" in capsys.readouterr().err
