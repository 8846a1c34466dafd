"""What may not pass: losses that are still open, traders that stand still, files that paper never traded."""

from __future__ import annotations

from pathlib import Path

import pytest

from mei.data.registry_db import put_config
from mei.data.trading_db import (
    EngineStateRow,
    EquityPoint,
    TradeRow,
    insert_equity,
    open_trading_db,
    stamp_text,
    write_engine_state,
    writing,
)
from tests.deployments.conftest import HOUR_MS, REGISTRY, YAML, Bench, id_of, strategy
from tests.deployments.test_promote import (
    DB,
    FLAGS,
    LIVE,
    ON_PAPER,
    _since,  # noqa: F401 (a fixture)
    close,
    good,
    judge,
    write,
)

LAYER = "live: {trade: {leverage: 20.0, slippage_bps: 15.0}}\n"


def test_a_loss_that_the_operator_took_is_one(bench: Bench, since: int) -> None:
    write([close(since + 1, 1.0, 10_001.0)])
    write([close(since + 2, -950.0, 9_051.0, type="SYSTEM", symbol="ETH")])
    bench.now += 24 * HOUR_MS
    code, failed, metrics = judge(bench)
    assert (code, failed) == (1, ["profit_factor"])
    assert (metrics["closes"], metrics["net_usd"]) == (1, -949.0)


def test_a_close_of_the_operator_without_a_price_says_nothing(bench: Bench, since: int) -> None:
    write(good(since))
    row = TradeRow(timestamp=stamp_text(since), symbol="ETH", type="SYSTEM", action="CLOSE")
    write([row])
    assert judge(bench)[2]["realised"] == 20


def test_an_open_loss_shows_in_the_drawdown(bench: Bench, since: int) -> None:
    write(good(since))
    points = [(since - 9, 2_000.0), (since - 1, 1_000.0), (since, 950.0), (since + 1, 899.0)]
    with open_trading_db(DB, create=False) as conn, writing(conn):
        insert_equity(conn, [EquityPoint(at_ms, usd, 1_000.0) for at_ms, usd in points])
    code, failed, metrics = judge(bench)
    assert (code, failed) == (1, ["max_drawdown_pct"])
    assert metrics["max_drawdown_pct"] == metrics["equity_drawdown_pct"]
    assert metrics["max_drawdown_pct"] == pytest.approx(10.1)
    assert judge(bench, "--max-drawdown-pct 10.2")[0] == 0


def test_the_worse_of_balance_and_equity_counts(bench: Bench, since: int) -> None:
    write([*good(since), close(since + 50, 0.0, 500.0)])
    with open_trading_db(DB, create=False) as conn, writing(conn):
        insert_equity(conn, [EquityPoint(since, 1_000.0, 1_000.0)])
    metrics = judge(bench)[2]
    assert metrics["equity_drawdown_pct"] == 0.0
    assert metrics["max_drawdown_pct"] == pytest.approx((1_019.0 - 500.0) / 10.19)


def test_hours_end_with_the_last_step_of_the_trader(bench: Bench, since: int) -> None:
    write([close(since + 1, 1.0, 10_001.0)])
    for revision, (as_of_ms, failed) in enumerate(
        [(since + 600_000, ["enough_evidence"]), (since + 24 * HOUR_MS, [])], 1
    ):
        row = EngineStateRow(
            revision=revision,
            as_of_ms=as_of_ms,
            config_id=id_of(ON_PAPER),
            state_json="{}",
            updated_at="",
        )
        with open_trading_db(DB, create=False) as conn, writing(conn):
            write_engine_state(conn, row)
        bench.now += 30 * HOUR_MS
        _, found, metrics = judge(bench)
        assert found == failed
        assert metrics["hours"] == (as_of_ms - since) / HOUR_MS


def on_paper(bench: Bench, text: str) -> None:
    """Deployed, and well traded."""
    LIVE.parent.mkdir(exist_ok=True)
    LIVE.write_text(strategy("live"))
    bench.deploy(text)
    with open_trading_db(DB, create=True):
        pass
    write(good(bench.now))


def test_a_live_layer_is_told_and_must_be_allowed(bench: Bench) -> None:
    text = strategy("paper", tp=4.0) + LAYER
    on_paper(bench, text)
    before = LIVE.read_text()
    code, failed, _ = judge(bench, "--apply")
    assert (code, failed) == (1, ["live_layer"])
    assert LIVE.read_text() == before
    assert "WARNING: live.trade.leverage is 20.0 for the live trader" in bench.err
    assert bench.json()["live_layer"] == {"trade.leverage": 20.0, "trade.slippage_bps": 15.0}
    assert judge(bench, "--apply --allow-live-layer")[0] == 0
    assert "WARNING: live.trade.leverage is 20.0" in bench.err
    assert LIVE.read_text() == text
    event = bench.event(Path(bench.json()["promotion_dir"]), "promotion_event.json")
    assert event["why"]["live_layer"]["trade.leverage"] == 20.0


@pytest.mark.parametrize(
    "more",
    [
        "live: {trade: {slippage_bps: 21.0}}\n",
        "symbols: {BTC: {trade: {slippage_bps: 21.0}}, ETH: {trade: {slippage_bps: 5.0}}}\n",
    ],
)
def test_slippage_of_every_layer_is_judged(bench: Bench, more: str) -> None:
    on_paper(bench, strategy("paper", tp=4.0) + more)
    _, failed, metrics = judge(bench, "--allow-live-layer")
    assert (failed, metrics["config_slippage_bps"]) == (["config_slippage_bps"], 21.0)


#: What the 17 rules pass and no trader starts on.
REFUSED = [
    ("leverage: 3.0", "leverage: 0", "leverage"),
    ("interval: 1h", "interval: 1hour", "interval"),
    ("tp_atr_mult: 5.0", "tp_atr_mult: 5.0, max_adds_per_symbl: 3", "max_adds_per_symbl"),
    ("min_adx: 20.0}", "min_adx: 20.0, macd_hist_entry_mode: bogus}", "macd_hist_entry_mode"),
]


@pytest.mark.parametrize(("old", "new", "said"), REFUSED)
@pytest.mark.parametrize("flags", ["", "--no-validate"])
def test_what_a_trader_refuses_is_not_deployed(
    bench: Bench, old: str, new: str, said: str, flags: str
) -> None:
    known = put_config(REGISTRY, strategy("x").replace(old, new), bench.now)
    before = bench.snapshot()
    assert bench.run("paper_deploy", f"--config-id {known} {flags}") == 2
    assert said in bench.err
    assert bench.snapshot() == before


def test_a_live_layer_that_a_trader_refuses_is_not_deployed(bench: Bench) -> None:
    text = strategy("x") + "live: {trade: {max_adds_per_symbl: 3}}\n"
    known = put_config(REGISTRY, text, bench.now)
    assert bench.run("paper_deploy", f"--config-id {known}") == 2
    assert "max_adds_per_symbl" in bench.err
    # Only the live trader has both.
    text = strategy("x") + "live: {indicators: {ema_fast_window: 50}}\n"
    known = put_config(REGISTRY, text, bench.now)
    assert bench.run("paper_deploy", f"--config-id {known}") == 2
    assert "with its layer live" in bench.err


def test_what_a_trader_refuses_is_not_restored(bench: Bench) -> None:
    oldest, broken = (
        strategy("oldest", tp=3.0),
        strategy("first").replace("leverage: 3.0", "leverage: 0"),
    )
    bench.deploy(oldest)
    YAML.write_text(broken)
    bench.deploy(strategy("a", tp=4.0))
    before = bench.snapshot()
    assert bench.run("rollback_to_last_good") == 2
    assert "leverage" in bench.err
    assert (
        f"paper_deploy --config-id {id_of(oldest)[:12]} puts back the newest earlier" in bench.err
    )
    assert bench.snapshot() == before


def test_without_an_earlier_one_that_passes_it_is_said(bench: Bench) -> None:
    YAML.write_text(strategy("first").replace("leverage: 3.0", "leverage: 0"))
    bench.deploy(strategy("a", tp=4.0))
    assert bench.run("rollback_to_last_good") == 2
    assert "no earlier deployment passes either" in bench.err


def test_a_file_that_came_by_other_means_is_neither_promoted_nor_rolled_back(
    bench: Bench, since: int
) -> None:
    by_hand = strategy("by hand", tp=7.0)
    YAML.write_text(by_hand)
    write(good(since))
    before = bench.snapshot()
    assert bench.run("promote_to_live", f"{FLAGS} --apply") == 2
    assert f"is {id_of(by_hand)[:12]}: it was replaced by other means" in bench.err
    assert bench.run("rollback_to_last_good") == 2
    assert f"is {id_of(by_hand)[:12]}: it was replaced by other means" in bench.err
    assert f"paper_deploy --config-id {id_of(ON_PAPER)[:12]} puts that one back" in bench.err
    assert bench.snapshot() == before
    # Another file may be named as that of paper; comments make no difference.
    named = Path("config/named.yaml")
    named.write_text(f"{ON_PAPER}# told\n")
    assert bench.run("promote_to_live", f"{FLAGS} --yaml-path {named}") == 0
    assert bench.run("rollback_to_last_good", "--steps 1") == 0
    assert YAML.read_text() == strategy("first")


def test_without_papers_file_nothing_is_promoted(bench: Bench, since: int) -> None:
    YAML.unlink()
    write(good(since))
    assert bench.run("promote_to_live", f"{FLAGS} --apply") == 2
    assert "there is none: it was replaced by other means" in bench.err


def test_a_deployment_that_is_recorded_elsewhere_is_none_of_ours(bench: Bench, since: int) -> None:
    known = put_config(REGISTRY, strategy("other", tp=9.0), bench.now)
    assert bench.run("paper_deploy", f"--config-id {known} --out-dir elsewhere") == 0
    write(good(since))
    assert bench.run("promote_to_live", f"{FLAGS} --apply") == 2
    assert bench.run("rollback_to_last_good") == 2
    assert "tp_atr_mult: 9.0" in YAML.read_text()


def test_intervals_that_are_not_known_ask_for_a_restart(bench: Bench) -> None:
    YAML.write_text("no: {yaml")
    event = bench.event(bench.deploy(strategy("x", interval="4h")))
    assert (event["what"]["restart_required"], event["restart"]["result"]["status"]) == (True, "ok")
    assert bench.restarts()[:1] == ["--user restart mei-paper-trader"]
