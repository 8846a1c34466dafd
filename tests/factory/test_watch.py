"""From candles to paper, and from paper's trades to live or back: the whole way, with real files and databases."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from mei.cli import main
from mei.data.registry_db import put_config, query_results
from mei.data.trading_db import (
    TradeRow,
    insert_audit,
    insert_trades,
    open_trading_db,
    stamp_text,
    writing,
)
from mei.model.errors import ConfigError
from mei.workflows.deployments.hands import Hands
from mei.workflows.deployments.restarting import RestartAsked
from mei.workflows.factory.watch import WatchRequest, watch
from tests.deploy.desk import calls, fake_command
from tests.factory.conftest import Bench, furnish
from tests.factory.market import NOW_MS, contents, factory_line, killed_at, start
from tests.tools.loading import exit_code, tool
from tests.workflows.databases import HOUR_MS

MORE = ("--no-slippage-stress", "--no-walk-forward", "--no-sensitivity-checks", "--no-monte-carlo")


@pytest.fixture(scope="module")
def chosen(market: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run `r` that has chosen and not deployed; not to be written to."""
    folder = furnish(market, tmp_path_factory.mktemp("chosen"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main.run(factory_line("r", "--no-deploy", *MORE)) == 0
    return folder


class Desk:
    """A run that is deployed to paper, its trader's database, and looks at it."""

    def __init__(self, bench: Bench, chosen: Path) -> None:
        shutil.copytree(chosen / "artifacts", bench.folder / "artifacts")
        self.bench, self.folder = bench, bench.folder
        self.before = (self.folder / "paper.yaml").read_text()
        live = self.before.replace("leverage: 3.0", "leverage: 1.5")
        (self.folder / "live.yaml").write_text(live)
        self.live_before = live

    def deploy(self, *more: str) -> int:
        """Go on with the run, this time with the deployment."""
        return self.bench.factory("r", *MORE, "--resume", *more)

    def trade(self, pnls: list[float], hour: float = 1.0, **more: Any) -> None:
        """Closed trades after the deployment, a minute apart, and the balance after each."""
        balance, rows = 10_000.0, []
        for number, pnl in enumerate(pnls):
            balance += pnl
            at_ms = NOW_MS + round(hour * HOUR_MS) + 60_000 * number
            rows.append(
                TradeRow(
                    timestamp=stamp_text(at_ms),
                    symbol="BTC",
                    type="LONG",
                    action="CLOSE",
                    price=100.0,
                    size=1.0,
                    pnl=pnl,
                    fee_usd=0.0,
                    balance=balance,
                    **more,
                )
            )
        with open_trading_db(self.folder / "trading_engine.db", create=True) as conn, writing(conn):
            insert_trades(conn, rows)

    def watch(self, *more: str, hour: float = 2.0) -> int:
        """Look at paper, some hours after the deployment."""
        now_ms = NOW_MS + round(hour * HOUR_MS)
        return self.bench.run(
            "factory", "watch", "--now-ms", str(now_ms), "--restart", "never", *more
        )

    def verdict(self) -> Any:
        """What the last look said."""
        return json.loads(self.bench.out)

    def paper(self) -> str:
        return (self.folder / "paper.yaml").read_text()

    def live(self) -> str:
        return (self.folder / "live.yaml").read_text()

    def candidate(self) -> str:
        """The file that the run chose."""
        run = self.folder / "artifacts/runs/r"
        selected = json.loads((run / "reports/selection.json").read_text())["selected"]
        return (run / selected["config_path"]).read_text()


@pytest.fixture
def desk(bench: Bench, chosen: Path) -> Desk:
    return Desk(bench, chosen)


LIVE = ("--live-yaml-path", "live.yaml")
WINS = [30.0, -10.0] * 10
LOSSES = [10.0, -10.0] * 10


def test_deployed_to_paper(desk: Desk) -> None:
    assert desk.deploy() == 0
    assert desk.paper() == desk.candidate() != desk.before
    (event,) = (desk.folder / "artifacts/deployments/paper").glob("*/deploy_event.json")
    found = json.loads(event.read_text())
    assert found["why"]["reason"] == "chosen by the factory (run r)"
    assert (event.parent / "prev_config.yaml").read_text() == desk.before
    before = contents(desk.folder / "artifacts/runs/r")
    assert desk.deploy() == 0
    assert contents(desk.folder / "artifacts/runs/r") == before
    assert len(list((desk.folder / "artifacts/deployments/paper").iterdir())) == 1
    assert desk.bench.run("factory", "status") == 0
    assert f"deployed {found['what']['config_id'][:12]}" in desk.bench.out


def test_a_restart_that_failed_is_tried_again_and_nothing_else(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trader is not up: the run says so, and goes on with the restart alone."""
    monkeypatch.setenv("RESTART_COMMAND", "test -e is_mended")
    assert desk.deploy("--restart", "always") == 1
    assert "the trader must be restarted and was not" in desk.bench.err
    assert desk.paper() == desk.candidate()
    assert desk.deploy("--restart", "always") == 1
    (desk.folder / "is_mended").touch()
    assert desk.deploy("--restart", "always") == 0
    (event,) = (desk.folder / "artifacts/deployments/paper").glob("*/deploy_event.json")
    assert json.loads(event.read_text())["restart"]["result"]["status"] == "ok"
    assert (event.parent / "prev_config.yaml").read_text() == desk.before


def test_what_was_deployed_and_replaced_since_is_not_deployed_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTART_COMMAND", "false")
    assert desk.deploy("--restart", "always") == 1
    monkeypatch.delenv("RESTART_COMMAND")
    later = str(NOW_MS + HOUR_MS)
    desk.trade(LOSSES, hour=0.5)
    assert desk.watch() == 1
    assert desk.paper() == desk.before
    assert desk.deploy("--now-ms", later) == 0
    assert "was deployed already" in desk.bench.err
    assert desk.paper() == desk.before


def test_registry_knows_what_was_deployed(desk: Desk) -> None:
    assert desk.deploy() == 0
    rows = query_results(desk.folder / "artifacts/registry/registry.sqlite", run_id="r")
    assert len(rows) == 6
    state = json.loads((desk.folder / "artifacts/runs/r/state.json").read_text())
    (deployed,) = (one["result"] for one in state["steps"] if one["step"] == "deploy")
    assert [row["config_id"] for row in rows if row["deployed"]] == [deployed["config_id"]]


def test_a_dry_run_leaves_paper_alone(desk: Desk) -> None:
    assert desk.deploy("--dry-run") == 0
    assert desk.paper() == desk.before
    assert desk.watch() == 1
    assert "must hold a deployment to paper" in desk.bench.err


def test_promoted(desk: Desk) -> None:
    assert desk.deploy() == 0
    desk.trade(WINS)
    assert desk.watch(*LIVE) == 0
    found = desk.verdict()
    assert found["verdict"] == "promoted"
    assert found["promotion"]["metrics"]["profit_factor"] == pytest.approx(3.0)
    assert desk.live() == desk.candidate() == desk.paper()
    record = desk.folder / found["record"]
    assert (record / "prev_config.yaml").read_text() == desk.live_before
    kept = json.loads((desk.folder / "artifacts/runs/r/watch.json").read_text())
    assert (kept["run_id"], kept["verdict"]) == ("r", "promoted")
    assert desk.bench.run("factory", "status") == 0
    assert desk.bench.out.endswith("  promoted\n")
    # Later looks find it done, whatever paper does meanwhile.
    desk.trade([-9000.0], hour=3.0)
    assert desk.watch(*LIVE, hour=5.0) == 0
    assert desk.verdict()["verdict"] == "promoted"
    assert len(list((desk.folder / "artifacts/deployments/live").iterdir())) == 1


def test_ready_without_a_live_file(desk: Desk) -> None:
    assert desk.deploy() == 0
    desk.trade(WINS)
    assert desk.watch() == 0
    assert desk.verdict()["verdict"] == "ready"
    assert desk.live() == desk.live_before
    assert not (desk.folder / "artifacts/deployments/live").exists()
    assert desk.watch(*LIVE, "--dry-run") == 0
    assert desk.verdict()["verdict"] == "ready"
    assert desk.live() == desk.live_before


def test_rolled_back(desk: Desk) -> None:
    assert desk.deploy() == 0
    desk.trade(LOSSES)
    assert desk.watch(*LIVE, "--dry-run") == 1
    assert desk.verdict()["verdict"] == "rolled_back"
    assert desk.paper() == desk.candidate()
    assert desk.watch(*LIVE) == 1
    found = desk.verdict()
    assert found["verdict"] == "rolled_back"
    assert "profit factor 1.0000" in found["why"][0]
    assert desk.paper() == desk.before
    assert desk.live() == desk.live_before
    record = json.loads((desk.folder / found["record"] / "rollback_event.json").read_text())
    assert record["why"]["reason"].startswith("factory watch: profit factor 1.0000")
    assert desk.watch(*LIVE, hour=5.0) == 1
    assert desk.verdict()["record"] == found["record"]
    assert len(list((desk.folder / "artifacts/rollbacks/paper").iterdir())) == 1


def test_a_kill_event_rolls_back_at_once(desk: Desk) -> None:
    assert desk.deploy() == 0
    desk.trade([5.0])
    with open_trading_db(desk.folder / "trading_engine.db", create=False) as conn, writing(conn):
        insert_audit(
            conn,
            timestamp=stamp_text(NOW_MS + HOUR_MS),
            symbol=None,
            event="RISK_KILL_DRAWDOWN",
            level="ERROR",
            data=None,
        )
    assert desk.watch() == 1
    assert desk.verdict()["why"] == ["1 kill events (at most 0)"]
    assert desk.paper() == desk.before


def test_waiting(desk: Desk) -> None:
    assert desk.deploy() == 0
    desk.trade([5.0, -5.0])
    assert desk.watch(*LIVE) == 0
    found = desk.verdict()
    assert found["verdict"] == "waiting"
    assert desk.paper() == desk.candidate()
    assert desk.live() == desk.live_before
    kept = json.loads((desk.folder / "artifacts/runs/r/watch.json").read_text())
    assert kept["verdict"] == "waiting"


def test_the_traders_variable_names_its_database(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk.deploy() == 0
    monkeypatch.setenv("AI_QUANT_PAPER_DB_PATH", "absent.db")
    assert desk.watch() == 1
    assert "absent.db" in desk.bench.err


def test_a_file_replaced_by_hand_is_not_judged(desk: Desk) -> None:
    assert desk.deploy() == 0
    desk.trade(LOSSES)
    by_hand = desk.before.replace("leverage: 3.0", "leverage: 2.5")
    (desk.folder / "paper.yaml").write_text(by_hand)
    assert desk.watch() == 0
    assert desk.verdict()["verdict"] == "waiting"
    assert "is not the file that was deployed" in desk.verdict()["why"][0]
    assert desk.paper() == by_hand


@pytest.mark.parametrize(
    ("more", "code", "says"),
    [
        (["--paper-db", "absent.db"], 1, "absent.db"),
        (["--live-yaml-path", "paper.yaml"], 2, "must be another file than that of paper"),
        (["--live-yaml-path", "hard.yaml"], 2, "must be another file than that of paper"),
        (["--live-yaml-path", "no/live.yaml"], 1, "no/live.yaml"),
        (["--max-hours", "3"], 2, "--max-hours must be at least --min-hours"),
        (["--restart", "maybe"], 2, "Invalid value for '--restart'"),
        (["--artifacts-dir", "elsewhere"], 1, "must hold a deployment to paper"),
        (["--min-trades", "-1"], 2, "--min-trades"),
        (["--every", "60"], 2, "--every and --now-ms"),
    ],
)
def test_bad_flags(desk: Desk, more: list[str], code: int, says: str) -> None:
    assert desk.deploy() == 0
    desk.trade(WINS)
    (desk.folder / "hard.yaml").hardlink_to(desk.folder / "paper.yaml")
    before = {path: path.read_bytes() for path in desk.folder.rglob("*") if path.is_file()}
    assert desk.watch(*more) == code
    assert says in desk.bench.err
    assert {path: path.read_bytes() for path in desk.folder.rglob("*") if path.is_file()} == before


def test_looking_again_until_it_is_decided(desk: Desk) -> None:
    assert desk.deploy() == 0
    desk.trade([5.0])
    clock, slept = [NOW_MS + 2 * HOUR_MS], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock[0] += round(seconds * 1000.0)
        if len(slept) == 3:
            desk.trade(WINS, hour=2.0)

    hands = Hands(lambda line: None, lambda: clock[0], sleep, {}, "u", "h")
    request = WatchRequest(live_yaml_path="live.yaml", every_s=600.0)
    assert watch(request, hands)["verdict"] == "promoted"
    assert slept == [600.0] * 3


@pytest.fixture(scope="module")
def deployed(chosen: Path, market: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What the run's folder holds when nobody kills its deployment."""
    folder = furnish(market, tmp_path_factory.mktemp("deployed"))
    shutil.copytree(chosen / "artifacts", folder / "artifacts")
    process = start(folder, factory_line("r", *MORE, "--resume"))
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said[-2000:]
    return contents(folder / "artifacts/runs")


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        "factory.deploy_begun.after_state:1",
        "deployments.folder.made:1",
        "deploy.yaml.begun:1",
        "deploy.yaml.done:1",
        "deploy.then.1:1",
        "deploy.then.3:1",
        "deploy.journal.removed:1",
        "data.registry.before_commit:1",
        "factory.deploy.before_state:1",
        "factory.deploy.after_state:1",
    ],
)
def test_killed_while_deploying(desk: Desk, deployed: Any, fault: str) -> None:
    """One deployment in the end, which knows what was there before it."""
    line = factory_line("r", *MORE, "--resume")
    assert killed_at(desk.folder, line, fault), "the point is not on the way"
    assert desk.paper() in (desk.before, desk.candidate())
    assert desk.deploy() == 0
    assert desk.paper() == desk.candidate()
    (folder,) = (desk.folder / "artifacts/deployments/paper").iterdir()
    assert (folder / "prev_config.yaml").read_text() == desk.before
    assert (folder / "deployed_config.yaml").read_text() == desk.candidate()
    assert (folder / "deploy_event.json").is_file()
    assert contents(desk.folder / "artifacts/runs") == deployed
    desk.trade(LOSSES)
    assert desk.watch() == 1
    assert desk.paper() == desk.before


@pytest.mark.slow
@pytest.mark.parametrize(("restart", "status"), [("always", "ok"), ("never", "interrupted")])
def test_killed_while_restarting(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, restart: str, status: str
) -> None:
    """The restart is made up for, or, if it is not wanted any more, told in the record."""
    monkeypatch.setenv("RESTART_COMMAND", "touch restarted")
    line = factory_line("r", *MORE, "--resume", "--restart", "always")
    assert killed_at(desk.folder, line, "deploy.restart.begun:1")
    assert not (desk.folder / "restarted").exists()
    assert desk.deploy("--restart", restart) == 0
    assert (desk.folder / "restarted").exists() == (restart == "always")
    (event,) = (desk.folder / "artifacts/deployments/paper").glob("*/deploy_event.json")
    assert json.loads(event.read_text())["restart"]["result"]["status"] == status
    assert (event.parent / "prev_config.yaml").read_text() == desk.before


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        "deploy.yaml.begun:1",
        "deploy.yaml.done:1",
        "deploy.then.2:1",
        "factory.watch.before_state:1",
    ],
)
@pytest.mark.parametrize("wins", [True, False], ids=["promoting", "rolling back"])
def test_killed_while_watching(desk: Desk, fault: str, wins: bool) -> None:
    """One record in the end, and the folder of the run says what came of it."""
    assert desk.deploy() == 0
    desk.trade(WINS if wins else LOSSES)
    line = ["factory", "watch", "--now-ms", str(NOW_MS + 2 * HOUR_MS), "--restart", "never", *LIVE]
    assert killed_at(desk.folder, line, fault), "the point is not on the way"
    assert desk.watch(*LIVE, hour=3.0) == (0 if wins else 1)
    assert desk.verdict()["verdict"] == ("promoted" if wins else "rolled_back")
    records = "deployments/live" if wins else "rollbacks/paper"
    assert len(list((desk.folder / "artifacts" / records).iterdir())) == 1
    assert desk.live() == (desk.candidate() if wins else desk.live_before)
    assert desk.paper() == (desk.candidate() if wins else desk.before)
    kept = json.loads((desk.folder / "artifacts/runs/r/watch.json").read_text())
    assert kept["verdict"] == desk.verdict()["verdict"]


def test_looking_again_goes_on_after_what_passes(desk: Desk) -> None:
    """No database yet, then another deployment under way, then a verdict."""
    assert desk.deploy() == 0
    said: list[str] = []
    locks: list[int] = []

    def sleep(_seconds: float) -> None:
        if not locks:
            desk.trade(LOSSES, hour=0.5)
            locks.append(os.open(desk.folder, os.O_RDONLY))
            fcntl.flock(locks[0], fcntl.LOCK_EX)
        else:
            os.close(locks[0])

    hands = Hands(said.append, lambda: NOW_MS + 2 * HOUR_MS, sleep, {}, "u", "h")
    request = WatchRequest(every_s=600.0, restart=RestartAsked(mode="never"))
    assert watch(request, hands)["verdict"] == "rolled_back"
    again = [line for line in said if line.endswith("looking again in 600 s")]
    assert len(again) == 2
    assert "trading_engine.db" in again[0]
    assert "another deployment is under way" in again[1]
    assert desk.paper() == desk.before


def test_looking_again_ends_with_wrong_settings(desk: Desk) -> None:
    assert desk.deploy() == 0
    hands = Hands(lambda line: None, lambda: NOW_MS, lambda seconds: None, {}, "u", "h")
    with pytest.raises(ConfigError, match="must be another file than that of paper"):
        watch(WatchRequest(live_yaml_path="paper.yaml", every_s=600.0), hands)


def test_after_a_dry_run_the_deployment_is_still_to_come(desk: Desk) -> None:
    assert desk.deploy("--dry-run") == 0
    assert desk.deploy("--dry-run") == 0
    assert desk.paper() == desk.before
    later = str(NOW_MS + 60_000)
    assert desk.deploy("--now-ms", later) == 0
    assert desk.paper() == desk.candidate()
    folders = sorted((desk.folder / "artifacts/deployments/paper").iterdir())
    events = [json.loads((one / "deploy_event.json").read_text()) for one in folders]
    assert [one["dry_run"] for one in events] == [True, False]


@pytest.mark.parametrize("theirs", [None, "close_only\n", "halt_all\n"])
def test_a_mended_restart_takes_its_own_pause_away(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, theirs: str | None
) -> None:
    """As the deployment was asked to; but not a pause that somebody has set since."""
    monkeypatch.setenv("RESTART_COMMAND", "test -e is_mended")
    assert desk.deploy("--restart", "always", "--pause-file", "pause") == 1
    pause = desk.folder / "pause"
    assert pause.read_text() == "close_only\n"
    if theirs is not None:
        pause.write_text(theirs)
    (desk.folder / "is_mended").touch()
    desk.trade([5.0], hour=0.5)
    look = ["factory", "watch", "--now-ms", str(NOW_MS + 2 * HOUR_MS)]
    assert desk.bench.run(*look) == 0
    assert (pause.read_text() if pause.exists() else None) == theirs


def test_a_mended_restart_leaves_the_pause_where_that_was_asked_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RESTART_COMMAND", "test -e is_mended")
    flags = ("--restart", "always", "--pause-file", "pause", "--pause-mode", "halt_all")
    assert desk.deploy(*flags, "--leave-paused") == 1
    (desk.folder / "pause").unlink()
    (desk.folder / "is_mended").touch()
    desk.trade([5.0], hour=0.5)
    assert desk.bench.run("factory", "watch", "--now-ms", str(NOW_MS + 2 * HOUR_MS)) == 0
    assert (desk.folder / "pause").read_text() == "halt_all\n"


def test_a_mended_restart_restarts_the_feed_too(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = fake_command(desk.folder, "systemctl", "test -e is_mended")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.delenv("RESTART_COMMAND", raising=False)
    flags = ("--restart", "always", "--service", "trader", "--verify-sleep-s", "0")
    assert desk.deploy(*flags, "--ws-service", "feed") == 1
    (desk.folder / "is_mended").touch()
    desk.trade([5.0], hour=0.5)
    assert desk.bench.run("factory", "watch", "--now-ms", str(NOW_MS + 2 * HOUR_MS)) == 0
    assert calls(desk.folder, "systemctl")[1:3] == ["--user restart feed", "--user restart trader"]


def test_a_live_layer_waits_until_it_is_allowed(desk: Desk) -> None:
    known = put_config(
        desk.folder / "artifacts/registry/registry.sqlite",
        f"{desk.before}live: {{trade: {{leverage: 2.0}}}}\n",
        NOW_MS,
    )
    line = ["--config-id", known, "--yaml-path", "paper.yaml", "--now-ms", str(NOW_MS)]
    assert exit_code(tool("paper_deploy"), line) == 0
    desk.trade(WINS)
    assert desk.watch(*LIVE) == 0
    assert desk.verdict()["verdict"] == "waiting"
    assert "--allow-live-layer" in desk.verdict()["why"][0]
    assert desk.live() == desk.live_before
    assert desk.watch(*LIVE, "--allow-live-layer") == 0
    assert desk.verdict()["verdict"] == "promoted"
