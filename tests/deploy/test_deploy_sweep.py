"""deploy_sweep, rule by rule of the specification."""

from __future__ import annotations

import io
import json
import os
import re
import stat
import time

import pytest

from mei.data.strategy_yaml import load_layers
from mei.model.semantics import STRICT
from tests.deploy.desk import OTHER, OVERRIDES, ROW, STRATEGY, Desk, calls, fake_command


def test_the_best_by_profit_comes_first_equal_ones_as_in_the_file(desk: Desk) -> None:
    named = [
        {**OTHER, "config_id": name, "total_pnl": pnl, "overrides": {"trade.leverage": leverage}}
        for name, pnl, leverage in (("a", 1.0, 1), ("b", 7.0, 2), ("c", 7.0, 3), ("d", -1.0, 4))
    ]
    missing = {"config_id": "e", "overrides": {"trade.leverage": 5}}
    desk.rows(*named, missing)
    found = []
    for rank in range(1, 6):
        assert desk.run(f"--dry-run --rank {rank}") == 0
        found.append(desk.err.split(",")[0])
    assert found == ["b", "c", "a", "e", "d"]
    assert "trade.leverage: 3.0 → 4.0 ✓" in desk.err


def test_empty_lines_are_passed_over(desk: Desk) -> None:
    text = (desk.folder / "rows.jsonl").read_text().replace("\n", "\n\n  \n")
    (desk.folder / "rows.jsonl").write_text(f"\n{text}")
    assert desk.run("--dry-run") == 0
    assert "rank #1 of 2" in desk.err


def test_the_difference_is_told_by_path_with_the_metrics(desk: Desk) -> None:
    row = {**ROW, "profit_factor": None}
    del row["final_balance"]
    desk.rows(row)
    before = desk.files()
    assert desk.run("--dry-run") == 0
    lines = desk.err.splitlines()
    assert lines[0].startswith("sweep_0042, rank #1 of 1 by total_pnl in rows.jsonl, into config/")
    assert lines[1:15] == [
        "  indicators.ema_slow_window: 50 → 34 ✓",
        "  thresholds.entry.macd_hist_entry_mode: ??? → sign ✓",
        "  trade.enable_pyramiding: true → false ✓",
        "  trade.entry_cooldown_s: ??? → 30 ✓",
        "  trade.entry_min_confidence: ??? → low ✓",
        "  trade.sl_atr_mult: 2.0 → 1.5 ✓",
        "  total_pnl: 123.46",
        "  total_trades: 31",
        "  win_rate: 51.3%",
        "  profit_factor: inf (no loss)",
        "  sharpe_ratio: 1.23",
        "  max_drawdown_pct: 3.2%",
        "  final_balance: N/A",
        lines[14],
    ]
    assert lines[-1] == "dry run: nothing was changed"
    assert desk.files() == before


@pytest.mark.parametrize(
    ("fields", "flags", "words"),
    [
        ({"total_trades": 30}, "", None),
        ({"total_trades": 29}, "", "29 trades are few: below 30 a few lucky ones make"),
        ({"total_trades": 3}, "--min-trades 3", None),
        ({"total_trades": 3}, "--min-trades 0", None),
        ({"total_trades": None}, "", "no total_trades, whether it traded enough cannot be judged"),
        ({"total_trades": None}, "--min-trades 0", None),
        ({"total_pnl": 0.01}, "--require-profit", None),
        ({"total_pnl": 0.0}, "", "THE ROW MAKES NO PROFIT (net PnL $0.00)"),
        ({"total_pnl": -7.0}, "--min-trades 31", "THE ROW MAKES NO PROFIT (net PnL $-7.00)"),
        ({"total_pnl": None}, "", "no total_pnl, whether it made a profit cannot be judged"),
    ],
)
def test_few_trades_and_losses_are_warned_of_and_deployed(
    desk: Desk, fields: dict[str, float | None], flags: str, words: str | None
) -> None:
    row = {**ROW, **fields}
    desk.rows({name: value for name, value in row.items() if value is not None})
    assert desk.run(f"--yes {flags}") == 0
    told = [line for line in desk.err.splitlines() if line.startswith("warning: ")]
    told = [line for line in told if "trades are few" in line or "row " in line.lower()]
    assert len(told) == (words is not None)
    assert words is None or words in told[0]
    assert desk.document["global"]["trade"]["sl_atr_mult"] == 1.5


def test_what_stays_is_marked(desk: Desk) -> None:
    desk.rows({**ROW, "overrides": {"trade.leverage": 3.0, "trade.bump_to_min_notional": 0}})
    assert desk.run("--dry-run") == 0
    assert "  trade.leverage: 3.0 → 3.0 (same)" in desk.err
    assert "  trade.bump_to_min_notional: false → false (same)" in desk.err
    desk.path.write_text(STRATEGY.replace("notional: false", "notional: 0"))
    assert desk.run("--dry-run") == 0
    assert "  trade.bump_to_min_notional: 0 → false ✓" in desk.err


@pytest.mark.parametrize("pairs", [False, True])
def test_values_keep_their_types(desk: Desk, pairs: bool) -> None:
    """The original makes floats of switches, words and seconds, which the backtester then refuses."""
    if pairs:
        desk.rows({**ROW, "overrides": [[path, value] for path, value in OVERRIDES.items()]})
    assert desk.run() == 0
    trade = desk.document["global"]["trade"]
    entry = desk.document["global"]["thresholds"]["entry"]
    assert trade["enable_pyramiding"] is False
    assert trade["entry_min_confidence"] == "low"
    assert entry["macd_hist_entry_mode"] == "sign"
    assert (type(trade["entry_cooldown_s"]), trade["entry_cooldown_s"]) == (int, 30)
    assert (type(trade["sl_atr_mult"]), trade["sl_atr_mult"]) == (float, 1.5)
    assert desk.document["global"]["indicators"]["ema_slow_window"] == 34
    layers = load_layers(desk.path, live=False, semantics=STRICT, tell=print)
    assert layers.portfolio["trade.entry_cooldown_s"] == 30


def test_the_rest_of_the_file_stays_with_its_comments(desk: Desk) -> None:
    desk.rows({**ROW, "overrides": {"trade.sl_atr_mult": 1.5, "indicators.rsi_window": 9}})
    assert desk.run() == 0
    expected = STRATEGY.replace("sl_atr_mult: 2.0  ", "sl_atr_mult: 1.5  ").replace(
        "atr_window: 14}", "atr_window: 14, rsi_window: 9}"
    )
    assert desk.path.read_text() == expected


def test_a_byte_order_mark_does_no_harm(desk: Desk) -> None:
    desk.path.write_bytes(b"\xef\xbb\xbf" + STRATEGY.encode())
    assert desk.run() == 0
    assert desk.path.read_bytes().startswith(b"# What")
    assert desk.backups[0].read_bytes().startswith(b"\xef\xbb\xbf# What")


def test_comments_that_cannot_be_kept_are_told(desk: Desk) -> None:
    text = STRATEGY.replace("leverage: 3.0", "leverage: &three 3.0").replace("2.0}", "*three}")
    desk.path.write_text(text)
    desk.rows(OTHER)
    assert desk.run() == 0
    assert "its comments are lost, the backup has them" in desk.err
    assert desk.document["global"]["trade"]["leverage"] == 4.0
    assert "#" not in desk.path.read_text()
    assert desk.backups[0].read_text() == text


def test_a_symbols_own_value_is_replaced_as_the_sweep_did(desk: Desk) -> None:
    desk.rows(OTHER)
    assert desk.run() == 0
    assert desk.document["symbols"] == {"ETH": {"trade": {"leverage": 4.0}}}
    assert "symbols.ETH.trade.leverage was 2.0, set as well, as the sweep did" in desk.err


def test_a_path_that_no_sweep_can_set_is_left_out_and_told(desk: Desk) -> None:
    desk.rows({**ROW, "overrides": {"trade.leverage": 1.0, "engine.interval": 3, "no.such": 1}})
    assert desk.run() == 0
    assert "  no.such: left out, no sweep can set it" in desk.err
    assert "engine" not in desk.document["global"]


@pytest.mark.parametrize(
    ("answer", "is_done"),
    [("y", True), ("YES", True), ("", False), ("n", False), ("yep", False), (None, False)],
)
def test_it_is_confirmed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: str | None, is_done: bool
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("" if answer is None else f"{answer}\n"))
    before = desk.files()
    assert desk.run("") == 0
    assert "Apply these changes? [y/N] " in desk.err
    assert (desk.files() != before) is is_done
    assert ("not confirmed: nothing was changed" in desk.err) is not is_done


def test_the_backup_is_the_old_file_under_the_seconds(desk: Desk) -> None:
    desk.path.chmod(0o640)
    earliest = int(time.time())
    assert desk.run() == 0
    latest = int(time.time())
    (backup,) = desk.backups
    found = re.fullmatch(r"strategy_overrides\.yaml\.bak\.([0-9]+)", backup.name)
    assert found
    assert earliest <= int(found[1]) <= latest
    assert backup.read_text() == STRATEGY
    assert stat.S_IMODE(desk.path.stat().st_mode) == 0o640


def test_a_backup_is_never_written_over(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: 1_700_000_000 * 10**9)
    texts = [desk.path.read_text()]
    for rank in (1, 2, 1):
        assert desk.run(f"--yes --rank {rank}") == 0
        texts.append(desk.path.read_text())
    names = [f"strategy_overrides.yaml.bak.1700000000{end}" for end in ("", ".1", ".2")]
    assert [path.name for path in desk.backups] == names
    assert [path.read_text() for path in desk.backups] == texts[:3]


def test_a_link_stays_one(desk: Desk) -> None:
    (desk.folder / "real").mkdir()
    desk.path.rename(desk.folder / "real/s.yaml")
    desk.path.symlink_to("../real/s.yaml")
    assert desk.run() == 0
    assert desk.path.is_symlink()
    assert desk.document["global"]["trade"]["sl_atr_mult"] == 1.5
    assert len(list((desk.folder / "real").glob("s.yaml.bak.*"))) == 1


def test_the_changelog_is_as_specified(desk: Desk) -> None:
    (desk.folder / "strategy_changelog.json").write_text(
        '{"current_version": "v6.009", "note": "ö", "history": [{"version": "v6.009"}]}'
    )
    assert desk.run() == 0
    text = (desk.folder / "strategy_changelog.json").read_text()
    assert text.startswith('{\n  "current_version": "v6.010",\n  "note": "ö",\n')
    assert text.endswith("}\n")
    entry, older = desk.changelog["history"]
    assert older == {"version": "v6.009"}
    assert list(entry) == ["version", "date", "changes"]
    assert entry["version"] == "v6.010"
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry["date"])
    assert entry["changes"] == [
        "DEPLOY: Applied sweep-optimised config (rank #1).",
        "  indicators.ema_slow_window: → 34",
        "  thresholds.entry.macd_hist_entry_mode: → sign",
        "  trade.enable_pyramiding: → false",
        "  trade.entry_cooldown_s: → 30",
        "  trade.entry_min_confidence: → low",
        "  trade.sl_atr_mult: → 1.5",
        "Backtest verification: $123.46 PnL / 31 trades / 51.3% WR / PF 1.79 / Sharpe 1.235",
    ]


def test_a_run_without_a_loss_has_an_infinite_profit_factor(desk: Desk) -> None:
    """The original crashes on it after the strategy file was written."""
    desk.rows({**ROW, "profit_factor": None})
    assert desk.run() == 0
    assert desk.changelog["history"][0]["changes"][-1].endswith("/ PF inf / Sharpe 1.235")


@pytest.mark.parametrize(
    ("current", "following"),
    [
        (None, "v6.001"),
        ("v6.000", "v6.001"),
        ("v6.001", "v6.002"),
        ("v6.099", "v6.100"),
        ("v6.999", "v6.1000"),
        ("1.2.3", "1.2.004"),
        ("v7", "v7.1"),
        ("7", "7.1"),
        ("v6.rc", "v6.rc.1"),
        ("v6.", "v6..1"),
        ("v6.²", "v6.².1"),
    ],
)
def test_versions_go_on(desk: Desk, current: str | None, following: str) -> None:
    if current is not None:
        content = json.dumps({"current_version": current, "history": []})
        (desk.folder / "strategy_changelog.json").write_text(content)
    assert desk.run() == 0
    assert desk.changelog["current_version"] == following
    assert f"is now {following}, config_id" in desk.err


def test_a_version_of_ones_own_and_other_paths(desk: Desk) -> None:
    desk.path.rename(desk.folder / "mine.yaml")
    assert desk.run("--yes --version mine-1 --config mine.yaml --changelog log.json") == 0
    found = json.loads((desk.folder / "log.json").read_text())
    assert found["current_version"] == found["history"][0]["version"] == "mine-1"
    assert len(list(desk.folder.glob("mine.yaml.bak.*"))) == 1


def test_newest_entries_stand_first(desk: Desk) -> None:
    for rank in (1, 2):
        assert desk.run(f"--yes --rank {rank}") == 0
    found = [entry["changes"][0][-3:] for entry in desk.changelog["history"]]
    assert found == ["2).", "1)."]


def test_parquet_gives_the_same_file(desk: Desk) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    flat = {name: [value] for name, value in ROW.items() if name != "overrides"}
    flat |= {f"overrides.{path}": [value] for path, value in OVERRIDES.items()}
    flat["profit_factor"] = [float("inf")]
    pq.write_table(pa.table(flat), desk.folder / "rows.parquet")
    assert desk.run("--yes", results="rows.parquet") == 0
    from_parquet = desk.path.read_text(), desk.changelog["history"][0]["changes"]
    desk.path.write_text(STRATEGY)
    desk.rows({**ROW, "profit_factor": None})
    assert desk.run("--yes") == 0
    assert (desk.path.read_text(), desk.changelog["history"][0]["changes"]) == from_parquet


def test_settings_that_deploy_validate_misses_are_told_and_no_obstacle(desk: Desk) -> None:
    desk.path.write_text("global: {trade: {leverage: 2.0}}\n")
    desk.rows(OTHER)
    assert desk.run() == 0
    assert "warning: deploy_validate asks for settings that the file leaves" in desk.err
    assert "global.trade.allocation_pct, " in desk.err
    assert "global.trade.leverage" not in desk.err


def test_services_are_restarted_paper_first(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fake_command(desk.folder, "systemctl", "exit 0")
    monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")
    assert desk.run("--yes --restart") == 0
    assert calls(desk.folder, "systemctl") == [
        "--user restart mei-paper-trader",
        "--user restart mei-live-trader",
    ]
    assert "[OK] mei-paper-trader (exit_code=0)" in desk.err
    assert desk.run("--yes") == 0
    assert desk.run("--dry-run --restart") == 0
    assert len(calls(desk.folder, "systemctl")) == 2


def test_a_restart_that_fails_leaves_the_deployment_standing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = 'case "$3" in other) echo "no bus" >&2; exit 1;; esac'
    path = fake_command(desk.folder, "systemctl", script)
    monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")
    monkeypatch.setenv("PAPER_SERVICE", "other")
    assert desk.run("--yes --restart") == 3
    assert "[FAIL] other (exit_code=1): no bus" in desk.err
    assert "the deployment stands, but a trader may run on with the old file" in desk.err
    assert desk.document["global"]["trade"]["sl_atr_mult"] == 1.5
    assert desk.changelog["current_version"] == "v6.001"
    assert not list(desk.folder.glob("config/*.deploy.json"))
    # The live one is tried all the same.
    assert len(calls(desk.folder, "systemctl")) == 2


def test_what_stands_is_not_put_back_when_the_restart_is_interrupted(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("subprocess.run", interrupt)
    assert desk.run("--yes --restart") == 130
    assert desk.document["global"]["trade"]["sl_atr_mult"] == 1.5
    assert desk.changelog["current_version"] == "v6.001"
    assert not list(desk.folder.glob("config/*.deploy.json"))


def test_the_strategy_file_may_not_change_while_one_thinks(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Slow(io.StringIO):
        def readline(self, size: int | None = -1) -> str:
            desk.path.write_text(f"{STRATEGY}# by hand\n")
            return "y\n"

    monkeypatch.setattr("sys.stdin", Slow())
    assert desk.run("") == 1
    assert "must be as it was when it was read, was changed since" in desk.err
    assert desk.path.read_text() == f"{STRATEGY}# by hand\n"
    assert desk.backups == []
