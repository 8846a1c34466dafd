"""promote_to_live: each gate at its limit, what counts, and the live file replaced with a record or not at all."""

from __future__ import annotations

import contextlib
import math
import signal
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from mei.data.registry_db import put_config
from mei.data.trading_db import (
    EngineStateRow,
    TradeRow,
    insert_audit,
    insert_trades,
    open_trading_db,
    stamp_text,
    write_engine_state,
    writing,
)
from mei.workflows.deployments.promotion_gates import drawdown_pct, profit_factor
from mei.workflows.paper.risk import KILL_EVENTS
from tests.deployments.conftest import (
    ARTIFACTS,
    HOUR_MS,
    REGISTRY,
    YAML,
    Bench,
    id_of,
    strategy,
)

DB = Path("trading_engine.db")
LIVE = Path("live/strategy.yaml")
ON_PAPER = strategy("on paper", tp=4.0)
FLAGS = f"--live-yaml-path {LIVE}"


@pytest.fixture(name="since")
def _since(bench: Bench) -> int:
    """When ON_PAPER was deployed, epoch ms."""
    LIVE.parent.mkdir()
    LIVE.write_text(strategy("live", interval="4h"))
    bench.deploy(ON_PAPER)
    with open_trading_db(DB, create=True):
        pass
    return bench.now


def close(at_ms: int, pnl: float, balance: float, **more: Any) -> TradeRow:
    """A row CLOSE without fees, unless told otherwise."""
    columns = {
        "type": "LONG",
        "action": "CLOSE",
        "fee_usd": 0.0,
        "symbol": "BTC",
        **more,
    }
    return TradeRow(timestamp=stamp_text(at_ms), pnl=pnl, balance=balance, **columns)


def write(rows: Iterable[TradeRow]) -> None:
    """Append rows to the paper trader's database."""
    with open_trading_db(DB, create=False) as conn, writing(conn):
        insert_trades(conn, rows)


def good(since: int, n: int = 20) -> list[TradeRow]:
    """So many closes, by turns +12 and -10: a profit factor of 1.2."""
    return [
        close(since + 1 + number, 12.0 if number % 2 == 0 else -10.0, 1_000.0 + number)
        for number in range(n)
    ]


def judge(bench: Bench, flags: str = "") -> tuple[int, list[str], Any]:
    """Exit code, the gates that were not passed, and the metrics."""
    code = bench.run("promote_to_live", f"{FLAGS} {flags}")
    report = bench.json()
    failed = [gate["name"] for gate in report["gates"] if not gate["passed"]]
    assert code == bool(failed) == (not report["passed"])
    return code, failed, report["metrics"]


def test_a_promotion_that_is_only_judged(bench: Bench, since: int) -> None:
    write(good(since))
    before = bench.snapshot()
    assert bench.run("promote_to_live", FLAGS) == 0
    report = bench.json()
    assert report["config_id"] == id_of(ON_PAPER)
    assert report["since_utc"] == "2026-03-10T12:01:00Z"
    assert report["metrics"] == {
        "hours": 60_000 / HOUR_MS,
        "closes": 20,
        "realised": 20,
        "net_usd": 20.0,
        "profit_factor": 1.2,
        "no_loss": False,
        "max_drawdown_pct": 0.0,
        "equity_drawdown_pct": None,
        "kill_events": 0,
        "rows_without_fee": 0,
        "trader_config_id": None,
        "config_slippage_bps": 10.0,
    }
    assert [gate["name"] for gate in report["gates"]] == [
        "enough_evidence",
        "profit_factor",
        "max_drawdown_pct",
        "config_slippage_bps",
        "kill_events",
    ]
    assert (report["applied"], report["restart_required"]) == (False, True)
    assert (report["prev_engine_interval"], report["next_engine_interval"]) == ("4h", "1h")
    assert [line[:6] for line in bench.err.splitlines()] == ["[PASS]"] * 5
    assert bench.snapshot() == before


def test_the_traders_variable_names_its_database(
    bench: Bench, since: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(good(since))
    DB.rename("elsewhere.db")
    monkeypatch.setenv("AI_QUANT_PAPER_DB_PATH", "elsewhere.db")
    assert judge(bench)[:2] == (0, [])


@pytest.mark.parametrize(
    ("n", "later_ms", "failed"),
    [
        (20, 0, []),
        (19, 0, ["enough_evidence"]),
        # The call itself is a minute after the deployment, and the one before it, too.
        (1, 24 * HOUR_MS - 60_000, []),
        (1, 24 * HOUR_MS - 60_001, ["enough_evidence"]),
    ],
)
def test_enough_trades_or_enough_hours(
    bench: Bench, since: int, n: int, later_ms: int, failed: list[str]
) -> None:
    write(good(since, n))
    bench.now += later_ms
    assert judge(bench)[1] == failed


@pytest.mark.parametrize(
    ("flags", "failed"),
    [
        ("--min-trades 21", ["enough_evidence"]),
        ("--min-trades 21 --min-hours 0.016", []),
        ("--min-trades 0", []),
        ("--min-profit-factor 1.2", []),
        ("--min-profit-factor 1.2000001", ["profit_factor"]),
        ("--max-config-slippage-bps 10", []),
        ("--max-config-slippage-bps 9.999", ["config_slippage_bps"]),
        ("--max-config-slippage-bps 0", []),
        ("--max-config-slippage-bps -1", []),
    ],
)
def test_thresholds(bench: Bench, since: int, flags: str, failed: list[str]) -> None:
    write(good(since))
    assert judge(bench, flags)[1] == failed


def test_the_profit_factor_is_net_and_of_closes_and_reduces(bench: Bench, since: int) -> None:
    write(
        [
            close(since, 10.0, 1_000.0, fee_usd=1.0),
            close(since, 4.0, 1_000.0, fee_usd=1.0, action="REDUCE"),
            close(since, -3.0, 1_000.0, fee_usd=1.0),
            close(since, 0.5, 1_000.0, fee_usd=0.5),
            close(since, 99.0, 1_000.0, action="FUNDING"),
            close(since, -99.0, 1_000.0, action="ADD"),
            # By the operator: no closed trade of the strategy, but money.
            close(since, -3.0, 1_000.0, type="SYSTEM"),
            close(since, 0.0, 1_000.0, type="SYSTEM"),
            # One ms before the deployment: of another strategy file.
            close(since - 1, -99.0, 1_000.0),
        ]
    )
    metrics = judge(bench)[2]
    assert (metrics["closes"], metrics["realised"]) == (3, 6)
    assert metrics["net_usd"] == 5.0
    assert math.isclose(metrics["profit_factor"], 12.0 / 7.0)


def test_the_order_of_ids_is_not_that_of_time(bench: Bench, since: int) -> None:
    write([close(since + 5, 1.0, 1_000.0), close(since - 5, -1.0, 1.0), close(since, 1.0, 1_000.0)])
    metrics = judge(bench)[2]
    assert (metrics["closes"], metrics["max_drawdown_pct"]) == (2, 0.0)


def test_no_loss_and_no_trade(bench: Bench, since: int) -> None:
    code, failed, metrics = judge(bench, "--min-trades 0")
    assert (code, failed) == (1, ["profit_factor"])
    assert (metrics["profit_factor"], metrics["no_loss"]) == (0.0, False)
    write([close(since, 1.0, 1_000.0)])
    code, failed, metrics = judge(bench, "--min-trades 1")
    assert (code, failed) == (0, [])
    assert (metrics["profit_factor"], metrics["no_loss"]) == (None, True)


def test_a_fee_that_is_not_written_counts_as_none_and_is_told(bench: Bench, since: int) -> None:
    write([close(since, 1.0, 1_000.0, fee_usd=None)])
    metrics = judge(bench)[2]
    assert (metrics["rows_without_fee"], metrics["net_usd"]) == (1, 1.0)


@pytest.mark.parametrize(("low", "failed"), [(990.0, []), (989.99, ["max_drawdown_pct"])])
def test_drawdown(bench: Bench, since: int, low: float, failed: list[str]) -> None:
    balances = [1_000.0, 1_100.0, low, 1_200.0]
    rows = [close(since + n, 1.0, balance) for n, balance in enumerate(balances)]
    write([*rows, close(since + 9, 0.0, 1_150.0, action="OPEN")])
    _, found, metrics = judge(bench, "--min-trades 4")
    assert found == failed
    assert math.isclose(metrics["max_drawdown_pct"], (1_100.0 - low) / 11.0)


def test_drawdown_begins_at_the_balance_before(bench: Bench, since: int) -> None:
    write([close(since - 9, 0.0, 5_000.0), close(since - 1, 0.0, 1_000.0)])
    write([close(since + 1, -200.0, 800.0), close(since + 2, 900.0, 1_700.0)])
    metrics = judge(bench)[2]
    assert metrics["max_drawdown_pct"] == 20.0


def test_numbers_by_hand() -> None:
    assert profit_factor([3.0, -1.5, 0.0]) == 2.0
    assert profit_factor([-1.0]) == 0.0
    assert profit_factor([]) == 0.0
    assert profit_factor([1.0]) == math.inf
    assert drawdown_pct([]) == drawdown_pct([5.0]) == drawdown_pct([1.0, 2.0]) == 0.0
    assert drawdown_pct([100.0, 50.0, 200.0, 150.0]) == 50.0
    assert drawdown_pct([100.0, -50.0]) == 150.0
    assert drawdown_pct([-1.0, -2.0]) == 0.0


@pytest.mark.parametrize("event", [*KILL_EVENTS.values(), "RISK_KILL", "risk_kill_x"])
def test_kill_events(bench: Bench, since: int, event: str) -> None:
    write(good(since))
    with open_trading_db(DB, create=False) as conn, writing(conn):
        for at_ms, name in ((since - 1, event), (since, event), (since, "RISK_KIL"), (since, "x")):
            insert_audit(
                conn, timestamp=stamp_text(at_ms), symbol=None, event=name, level="x", data=None
            )
    _, failed, metrics = judge(bench)
    assert (failed, metrics["kill_events"]) == (["kill_events"], 1)
    assert judge(bench, "--max-kill-events 1")[1] == []


def test_the_trader_must_run_it(bench: Bench, since: int) -> None:
    write(good(since))
    runs = [("0" * 64, ["trader_runs_it"]), (id_of(ON_PAPER), [])]
    for revision, (known, failed) in enumerate(runs, 1):
        row = EngineStateRow(
            revision=revision, as_of_ms=0, config_id=known, state_json="{}", updated_at=""
        )
        with open_trading_db(DB, create=False) as conn, writing(conn):
            write_engine_state(conn, row)
        assert judge(bench)[1] == failed


def test_a_database_of_the_original(bench: Bench, since: int) -> None:
    DB.unlink()
    for suffix in ("-wal", "-shm"):
        DB.with_name(f"{DB.name}{suffix}").unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(DB)) as database, database:
        database.execute(
            "CREATE TABLE trades (id INTEGER PRIMARY KEY, timestamp TEXT, symbol TEXT, type TEXT, action TEXT, "
            "pnl REAL, balance REAL)"
        )
        database.execute(
            "INSERT INTO trades VALUES (1, '2026-03-10T13:01:00+01:00', 'BTC', 'LONG', 'CLOSE', 5, 100)"
        )
    metrics = judge(bench)[2]
    assert (metrics["closes"], metrics["rows_without_fee"]) == (1, 1)


def test_apply(bench: Bench, since: int) -> None:
    write(good(since))
    live = LIVE.read_text()
    assert bench.run("promote_to_live", f"{FLAGS} --apply") == 0
    report = bench.json()
    folder = Path(report["promotion_dir"])
    assert folder == ARTIFACTS / "deployments" / "live" / f"20260310T120200Z_{id_of(ON_PAPER)[:12]}"
    assert report["applied"] is True
    assert LIVE.read_text() == ON_PAPER
    assert (folder / "promoted_config.yaml").read_text() == ON_PAPER
    assert (folder / "prev_config.yaml").read_text() == live
    event = bench.event(folder, "promotion_event.json")
    assert event["version"] == "promotion_event_v1"
    assert event["what"]["config_id"] == id_of(ON_PAPER)
    assert event["what"]["restart_required"] is True
    assert event["why"]["metrics"] == report["metrics"]
    assert "the live trader must be restarted" in bench.err
    assert bench.restarts() == []
    assert YAML.read_text() == ON_PAPER


@pytest.mark.parametrize(
    ("flags", "code"), [("--apply --dry-run", 0), ("--apply --min-trades 21", 1), ("", 0)]
)
def test_nothing_is_written_otherwise(bench: Bench, since: int, flags: str, code: int) -> None:
    write(good(since))
    before = bench.snapshot()
    assert bench.run("promote_to_live", f"{FLAGS} {flags}") == code
    assert bench.json()["applied"] is False
    assert bench.snapshot() == before


def test_without_a_live_file_it_is_only_judged(bench: Bench, since: int) -> None:
    write(good(since))
    before = bench.snapshot()
    assert bench.run("promote_to_live") == 0
    report = bench.json()
    named = ("live_yaml_path", "restart_required", "prev_engine_interval", "promotion_dir")
    assert [report[name] for name in named] == [None] * 4
    assert (report["passed"], report["applied"]) == (True, False)
    for flags in ("--apply", "--apply --dry-run"):
        assert bench.run("promote_to_live", flags) == 2
        assert "--apply must be given with --live-yaml-path" in bench.err
        assert (bench.err.count("\n"), bench.out) == (1, "")
    assert bench.snapshot() == before


@pytest.mark.parametrize("way", ["itself", "symlink", "hard link", "dotted"])
@pytest.mark.parametrize("flags", ["", "--apply"])
def test_papers_own_file_is_no_live_file_unless_it_is_said(
    bench: Bench, since: int, way: str, flags: str
) -> None:
    write(good(since))
    link = Path("live/link.yaml")
    if way == "symlink":
        link.symlink_to(YAML.absolute())
    elif way == "hard link":
        link.hardlink_to(YAML)
    named = {"itself": YAML, "dotted": "live/../config/strategy_overrides.yaml"}.get(way, link)
    before = bench.snapshot()
    line = f"--live-yaml-path {named} {flags}"
    assert bench.run("promote_to_live", line) == 2
    assert "--live-yaml-path must be another file than that of paper" in bench.err
    assert "--allow-paper-yaml passes it" in bench.err
    assert (bench.err.count("\n"), bench.out) == (1, "")
    assert bench.snapshot() == before
    assert bench.run("promote_to_live", f"{line} --allow-paper-yaml") == 0
    assert bench.json()["applied"] is bool(flags)


def test_paper_is_where_its_record_says_too(bench: Bench, since: int) -> None:
    write(good(since))
    copy = Path("config/copy.yaml")
    copy.write_text(ON_PAPER)
    line = f"--apply --yaml-path {copy} --live-yaml-path"
    for live in (copy, YAML):
        assert bench.run("promote_to_live", f"{line} {live}") == 2
        assert "must be another file than that of paper" in bench.err
    assert bench.run("promote_to_live", f"{line} {LIVE}") == 0


def test_who_deploys_to_paper_learns_that_it_is_live_too(bench: Bench, since: int) -> None:
    write(good(since))
    warning = "is the file of the live trader, too, by the newest promotion"
    line = f"--apply --allow-paper-yaml --live-yaml-path {YAML}"
    bench.deploy(ON_PAPER)
    assert warning not in bench.err
    write(good(bench.now))
    assert bench.run("promote_to_live", line) == 0
    bench.deploy(strategy("next", tp=7.0))
    assert warning in bench.err
    assert bench.run("rollback_to_last_good") == 0
    assert warning in bench.err
    assert YAML.read_text() == ON_PAPER


def test_a_rollback_of_paper_leaves_the_live_file_alone(bench: Bench, since: int) -> None:
    write(good(since))
    assert bench.run("promote_to_live", f"{FLAGS} --apply") == 0
    before = bench.snapshot()
    for flags in ("", "--dry-run"):
        line = f"--yaml-path {LIVE} --steps 1 {flags}"
        assert bench.run("rollback_to_last_good", line) == 2
        assert "--yaml-path must be the strategy file of the paper trader" in bench.err
        assert (bench.err.count("\n"), bench.out) == (1, "")
    assert bench.snapshot() == before
    assert bench.run("rollback_to_last_good") == 0
    assert (LIVE.read_text(), YAML.read_text()) == (ON_PAPER, strategy("first"))


def test_a_rollback_does_not_wait_for_records_of_live(bench: Bench, since: int) -> None:
    write(good(since))
    assert bench.run("promote_to_live", f"{FLAGS} --apply") == 0
    (Path(bench.json()["promotion_dir"]) / "promotion_event.json").write_text("broken")
    assert bench.run("rollback_to_last_good") == 0
    assert "warning: which file is the live trader's is not known" in bench.err
    assert YAML.read_text() == strategy("first")


def test_the_newest_deployment_counts_and_dry_runs_do_not(bench: Bench, since: int) -> None:
    write(good(since))
    bench.deploy(strategy("only tried", tp=6.0), "--dry-run")
    assert judge(bench)[0] == 0
    assert bench.json()["config_id"] == id_of(ON_PAPER)
    newer = strategy("newer", tp=7.0)
    bench.deploy(newer)
    _, failed, metrics = judge(bench)
    assert (bench.json()["config_id"], metrics["closes"]) == (id_of(newer), 0)
    assert failed == ["enough_evidence", "profit_factor"]
    assert bench.run("promote_to_live", f"{FLAGS} --config-id {id_of(ON_PAPER)}") == 2
    assert "must be that of the newest deployment to paper" in bench.err
    assert judge(bench, f"--config-id {id_of(newer)[:12]}")[0] == 1


def test_what_was_rolled_back_is_not_promoted(bench: Bench, since: int) -> None:
    write(good(since))
    assert bench.run("rollback_to_last_good", "--dry-run") == 0
    assert judge(bench)[0] == 0
    assert bench.run("rollback_to_last_good") == 0
    assert bench.run("promote_to_live", FLAGS) == 2
    assert "must still be on paper, was rolled back" in bench.err
    bench.deploy(ON_PAPER)
    write(good(bench.now))
    assert judge(bench)[0] == 0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--min-trades -1", "--min-trades must be at least 0"),
        ("--min-hours nan", "--min-hours must be at least 0"),
        ("--min-profit-factor -1", "--min-profit-factor must be at least 0"),
        ("--max-drawdown-pct inf", "--max-drawdown-pct must be at least 0"),
        ("--max-kill-events -1", "--max-kill-events must be at least 0"),
        ("--max-config-slippage-bps nan", "--max-config-slippage-bps must be finite"),
        ("--paper-db none.db", "none.db: must be a trading database"),
        ("--paper-db config/strategy_overrides.yaml", "must be a usable trading database"),
        ("--registry-db none.db", "must be a registry, there is no such file"),
        ("--artifacts-dir none", "must hold a deployment to paper, holds none"),
        ("--live-yaml-path nowhere/x.yaml", "must be in a folder that exists"),
        ("--config-id 0123456789abcdef", "must be that of the newest deployment"),
        ("--min-trades many", "Invalid value for '--min-trades'"),
    ],
)
def test_wrong_input_is_2_and_changes_nothing(
    bench: Bench, since: int, flags: str, said: str
) -> None:
    write(good(since))
    before = bench.snapshot()
    assert bench.run("promote_to_live", f"{FLAGS} --apply {flags}") == 2
    assert said in bench.err
    assert (bench.err.count("\n"), bench.out) == (1, "")
    assert bench.snapshot() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("UPDATE trades SET pnl = NULL WHERE id = 3", "pnl of a CLOSE must be a number, row 3"),
        ("UPDATE trades SET timestamp = 'today' WHERE id = 3", "must be ISO 8601, row 3"),
        (
            "INSERT INTO audit_events (timestamp, event) VALUES ('today', 'RISK_KILL_X')",
            "the time of an audit event must be ISO 8601, row 1",
        ),
        ("DROP TABLE trades", None),
    ],
)
def test_rows_that_cannot_be_judged(
    bench: Bench, since: int, change: str, said: str | None
) -> None:
    write(good(since))
    with contextlib.closing(sqlite3.connect(DB)) as database, database:
        database.execute(change)
    if said is None:
        assert judge(bench)[0] == 1
        return
    assert bench.run("promote_to_live", f"{FLAGS} --apply") == 2
    assert said in bench.err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("broken", "must be a record of a deployment"),
        ('{"ts_utc": "soon"}', "ts_utc is no time"),
        ('{"ts_utc": "2026-03-10T12:00:00Z", "what": {}}', "must name a config_id"),
        ('{"ts_utc": "2027-03-10T12:00:00Z", "what": {"config_id": "CONFIG"}}', "of the future"),
    ],
)
def test_a_record_that_was_changed(bench: Bench, since: int, change: str, said: str) -> None:
    (event,) = ARTIFACTS.glob("deployments/paper/*/deploy_event.json")
    event.write_text(change.replace("CONFIG", id_of(ON_PAPER)))
    assert bench.run("promote_to_live", f"{FLAGS} --apply") == 2
    assert said in bench.err


def test_what_may_not_be_deployed_is_not_promoted(bench: Bench, since: int) -> None:
    lacking = strategy("lacks a setting", tp=4.0).replace("adx_window: 14, ", "")
    bench.deploy(lacking, "--no-validate")
    write(good(bench.now))
    assert bench.run("promote_to_live", f"{FLAGS} --apply") == 2
    assert "global.indicators.adx_window must be" in bench.err


BEFORE = ["deploy.backup.done:1", "report.strategy.before_rename:1"]
AFTER = [
    "report.strategy.after_rename:1",
    "deploy.then.1:1",
    "deploy.then.2:1",
    "deploy.then.3:1",
]


@pytest.mark.parametrize("point", [*BEFORE, *AFTER])
def test_killed_it_is_all_or_nothing_and_the_next_one_says_so(
    bench: Bench, since: int, point: str
) -> None:
    write(good(since))
    live = LIVE.read_text()
    code = bench.killed("promote_to_live", f"{FLAGS} --apply", point)
    assert code == -signal.SIGKILL
    assert LIVE.read_text() == (live if point in BEFORE else ON_PAPER)
    assert bench.run("promote_to_live", FLAGS) == 0
    assert "the next deployment will settle this first" in bench.err
    assert bench.run("promote_to_live", f"{FLAGS} --apply") == 0
    assert "an earlier promote_to_live was interrupted" in bench.err
    folders = sorted((ARTIFACTS / "deployments" / "live").iterdir())
    assert len(folders) == (1 if point in BEFORE else 2)
    for folder in folders:
        assert (folder / "promoted_config.yaml").read_text() == ON_PAPER
        assert bench.event(folder, "promotion_event.json")["what"]["mode"] == "live"
    assert (folders[0] / "prev_config.yaml").read_text() == live
    assert LIVE.read_text() == ON_PAPER


def test_a_registry_that_was_changed_is_refused(bench: Bench, since: int) -> None:
    write(good(since))
    put_config(REGISTRY, strategy("other", tp=9.0), 0)
    with contextlib.closing(sqlite3.connect(REGISTRY)) as database, database:
        database.execute(
            "UPDATE configs SET yaml_text = ? WHERE config_id = ?",
            (strategy("x", tp=1.0), id_of(ON_PAPER)),
        )
    assert bench.run("promote_to_live", f"{FLAGS} --apply") == 2
    assert "must have the config_id" in bench.err
