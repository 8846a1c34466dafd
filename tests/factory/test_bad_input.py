"""Wrong flags, files and data: a line, an exit code, nothing written."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from mei.engines.select import select_device
from mei.workflows.factory.run_folder import held
from tests.factory.conftest import Bench
from tests.factory.market import CONFIG, N_HOURS, N_ROWS, NOW_MS, SYMBOLS, contents, factory_line
from tests.workflows.databases import HOUR_MS, START_MS, write_candles

BAD_FLAGS = [
    (["--profile", "huge"], 2, "--profile must be smoke, daily, deep, was 'huge'"),
    (["--run-id", "a/b"], 2, "--run-id names a folder"),
    (["--run-id", ".."], 2, "--run-id names a folder"),
    (["--config", "absent.yaml"], 2, "--config must name a file, absent.yaml is none"),
    (["--sweep-spec", "absent.yaml"], 2, "--sweep-spec must name a file"),
    (["--candles-db", "absent.db"], 1, "absent.db"),
    (["--candles-db", "empty"], 1, "--candles-db empty must hold candle databases"),
    (["--funding-db", "absent.db"], 1, "--funding-db must name a file, absent.db is none"),
    (["--interval", "4h"], 1, "4h"),
    (
        ["--strategy-mode", "wild"],
        2,
        "modes must have wild (--strategy-mode wild), has conservative",
    ),
    (["--split", "30,10,0"], 1, "a split of --walk-forward must fit into the candles, none does"),
    (["--split", "x"], 2, "--split must be"),
    (["--slippage-bps", "0"], 2, "--slippage-bps must be numbers above 0"),
    (["--reject-flip-bps", "15"], 2, "--reject-flip-bps must be one of --slippage-bps, 10, 20, 30"),
    (["--symbol-set", "majors"], 2, "--symbol-set must be NAME=PATH"),
    (["--symbol-set", "a/b=c.yaml"], 2, "names of --symbol-set name files"),
    (["--symbol-set", "majors=absent.txt"], 1, "absent.txt"),
    (["--discord-target", "general"], 2, "--discord-target must be the address of a webhook"),
    (["--resume"], 1, "--resume needs a run that was begun"),
    (["--seed", "-1"], 2, "--seed"),
    (["--restart", "maybe"], 2, "Invalid value for '--restart'"),
    (["--yaml-path", "no/paper.yaml"], 1, "no/paper.yaml must be in a folder that exists"),
]


@pytest.mark.parametrize(("more", "code", "says"), BAD_FLAGS, ids=lambda one: str(one)[:40])
def test_bad_flags(bench: Bench, more: list[str], code: int, says: str) -> None:
    (bench.folder / "empty").mkdir()
    before = sorted(bench.folder.rglob("*"))
    assert bench.factory("bad", *more) == code
    assert says in bench.err
    assert bench.err.strip().splitlines()[-1].startswith("error: ")
    assert sorted(bench.folder.rglob("*")) == before


def test_without_a_card(bench: Bench) -> None:
    if select_device("auto").card is not None:
        pytest.skip("there is a card")
    assert bench.factory("bad", "--gpu") == 2
    assert "GPU" in bench.err
    assert not (bench.folder / "artifacts").exists()


def test_resume_without_a_run(bench: Bench) -> None:
    line = [one for one in factory_line("x") if one not in ("--run-id", "x")]
    assert bench.run(*line, "--resume") == 2
    assert "--resume must come with --run-id" in bench.err


BAD_FILES = [
    ("c.yaml", "- 1\n", 2, "c.yaml: the root must be a mapping"),
    ("c.yaml", "global: {trade: {leverage: much}}\n", 2, "leverage must be a number"),
    ("c.yaml", "global: [\n", 2, "c.yaml"),
    ("c.yaml", CONFIG.replace("allocation_pct: 0.1,", ""), 2, "a file to deploy is faulty"),
    ("spec.yaml", "axes: 3\n", 1, "a sweep spec must be a mapping with a list `axes`"),
    ("spec.yaml", "axes: [{path: trade.sl_atr_mult, values: []}]\n", 2, "at least one value"),
]


@pytest.mark.parametrize(("name", "text", "code", "says"), BAD_FILES)
def test_bad_files(bench: Bench, name: str, text: str, code: int, says: str) -> None:
    (bench.folder / name).write_text(text)
    assert bench.factory("bad") == code
    assert says in bench.err
    assert not (bench.folder / "artifacts").exists()


def test_a_state_file_that_is_none(bench: Bench) -> None:
    folder = bench.folder / "artifacts/runs/bad"
    folder.mkdir(parents=True)
    for text in ("", "{}", '{"version": "factory_state_v0"}', "[1]"):
        (folder / "state.json").write_text(text)
        assert bench.factory("bad", "--resume") == 1
        assert "state.json must be the state of a run of the factory" in bench.err
        assert (folder / "state.json").read_text() == text


@pytest.fixture
def own_market(bench: Bench) -> Bench:
    """Databases that a test may spoil."""
    shared = bench.folder / "candles_dbs"
    funding = (shared / "funding_rates.db").read_bytes()
    shared.unlink()
    write_candles(bench.folder, "1h", HOUR_MS, N_HOURS, symbols=SYMBOLS)
    (shared / "funding_rates.db").write_bytes(funding)
    return bench


def spoil(path: Path, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)


@pytest.mark.slow
def test_candles_with_a_hole_stop_the_run_until_they_are_repaired(own_market: Bench) -> None:
    bench, path = own_market, own_market.folder / "candles_dbs/candles_1h.db"
    whole = path.read_bytes()
    spoil(
        path,
        f"DELETE FROM candles WHERE symbol = 'SOL' AND t BETWEEN {NOW_MS - 9 * HOUR_MS} AND {NOW_MS - 4 * HOUR_MS}",
    )
    checks = ("--no-deploy", "--no-walk-forward", "--no-slippage-stress", "--no-sensitivity-checks")
    assert bench.factory("holes", *checks) == 1
    assert "candles must be fresh and whole, are not" in bench.err
    assert '"SOL"' in (bench.folder / "artifacts/runs/holes/checks/candles.json").read_text()
    assert not (bench.folder / "artifacts/runs/holes/sweeps").exists()
    path.write_bytes(whole)
    assert bench.factory("holes", *checks, "--resume") == 0


@pytest.mark.slow
def test_old_candles_stop_the_run_unless_they_are_not_checked(bench: Bench) -> None:
    late = ("--now-ms", str(NOW_MS + 20 * HOUR_MS))
    checks = ("--no-deploy", "--no-walk-forward", "--no-slippage-stress", "--no-sensitivity-checks")
    assert bench.factory("late", *checks, *late) == 1
    assert "candles and funding must be fresh and whole" in bench.err
    assert bench.factory("later", *checks, *late, "--no-data-checks") == 0
    assert "are not checked (--no-data-checks)" in bench.err


def test_what_the_walk_forward_tests_is_told_before_the_sweep(bench: Bench) -> None:
    late = ("--no-deploy", "--now-ms", str(NOW_MS + 20 * HOUR_MS))
    assert bench.factory("told", *late) == 1
    assert "candles and funding must be fresh and whole" in bench.err
    line = "[factory] walk forward, tested: days 9-19 of 20 (50%, 2025-06-10 to 2025-06-19); not tested: 0-9, 19-20"
    assert bench.err.splitlines().count(line) == 1
    assert bench.factory("quiet", *late, "--no-walk-forward") == 1
    assert "tested" not in bench.err


FEW = ("--no-deploy", "--no-walk-forward", "--no-slippage-stress", "--no-sensitivity-checks")


@pytest.mark.slow
def test_candles_changed_after_the_sweep(own_market: Bench) -> None:
    """A replay that is not its row: the run does not mix two markets."""
    bench, path = own_market, own_market.folder / "candles_dbs/candles_1h.db"
    assert bench.factory("mixed", *FEW) == 0
    bench.back_to("mixed", "configs")
    spoil(path, "UPDATE candles SET h = h * 1.1, c = c * 1.05 WHERE t % 5 = 0 AND symbol = 'ETH'")
    assert bench.factory("mixed", *FEW, "--resume") == 1
    assert "candles or funding rates were changed since" in bench.err


@pytest.mark.slow
def test_candles_that_came_after_the_sweep_are_not_used(own_market: Bench) -> None:
    bench, path = own_market, own_market.folder / "candles_dbs/candles_1h.db"
    assert bench.factory("later", *FEW) == 0
    before = contents(bench.folder / "artifacts/runs/later")
    bench.back_to("later", "configs")
    end_ms = START_MS + N_HOURS * HOUR_MS
    for bar in range(30):
        at_ms, px = end_ms + bar * HOUR_MS, 100.0 + 5.0 * bar
        spoil(
            path,
            f"INSERT INTO candles SELECT symbol, interval, {at_ms}, {at_ms + HOUR_MS - 1}, {px}, {px + 6}, {px - 1}, "
            f"{px + 5}, v, n FROM candles WHERE t = {START_MS}",
        )
    assert bench.factory("later", *FEW, "--resume") == 0
    assert contents(bench.folder / "artifacts/runs/later") == before


@pytest.mark.slow
def test_candles_of_past_months_may_be_old(own_market: Bench) -> None:
    bench, hours = own_market, 48
    old = write_candles(
        bench.folder / "old",
        "1h",
        HOUR_MS,
        hours,
        symbols=SYMBOLS,
        start_ms=START_MS - hours * HOUR_MS,
    )
    old.rename(bench.folder / "candles_dbs/candles_1h_2025-05.db")
    assert bench.factory("months", *FEW) == 0
    window = bench.json("artifacts/runs/months/reports/report.json")["sweep"]
    assert window["n_rows"] == N_ROWS
    assert f"1h): {START_MS - hours * HOUR_MS}.." in bench.err


def test_a_run_that_is_worked_on(bench: Bench) -> None:
    folder = bench.folder / "artifacts/runs/busy"
    folder.mkdir(parents=True)
    with held(folder):
        assert bench.factory("busy", *FEW) == 1
    assert "another process works on the run" in bench.err
    assert list(folder.iterdir()) == []
