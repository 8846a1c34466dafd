"""From the registry to a real paper trader, and from what it wrote to live."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mei.data.registry_db import put_config
from mei.model.yaml12 import dump_yaml, parse_yaml
from mei.workflows.paper.request import Limits
from tests.deployments.conftest import REGISTRY, Bench, id_of
from tests.paper_trader.desk import Desk
from tests.paper_trader.market import CONFIG, make_market

#: What must stand in a file to be deployed, beside what the trader of the tests has.
_NEEDED = {
    "trade": {
        "allocation_pct": 0.1,
        "leverage": 3.0,
        "sl_atr_mult": 2.0,
        "tp_atr_mult": 3.0,
        "slippage_bps": 4.0,
        "max_total_margin_pct": 0.9,
        "min_notional_usd": 10.0,
        "min_atr_pct": 0.0,
        "max_open_positions": 3,
        "bump_to_min_notional": True,
    },
    "thresholds": {"entry": {"min_adx": 5.0}},
}


def deployable() -> str:
    """The strategy file of the tests' trader with all that it must name."""
    document = parse_yaml(CONFIG, "CONFIG")
    layer = document["global"]
    layer["trade"] = {**_NEEDED["trade"], **layer["trade"]}
    return dump_yaml(document)


def promote(bench: Bench, desk: Desk, flags: str = "") -> int:
    """Exit code of a judgement when all bars have come."""
    bench.now = desk.market.end_ms
    live = Path("live.yaml")
    live.write_text(CONFIG)
    line = f"--paper-db {desk.request.db} --live-yaml-path {live} --min-profit-factor 0"
    return bench.run("promote_to_live", f"{line} --max-drawdown-pct 100 {flags}")


def deployed(bench: Bench, **more: object) -> Desk:
    """A trader whose file came from the registry; bars of 120 hours."""
    desk = Desk(Path("desk"), make_market(Path("desk/databases"), 1, 120), **more)
    known = put_config(REGISTRY, deployable(), 0)
    bench.now = desk.start_ms - 60_000
    assert bench.run("paper_deploy", f"--config-id {known} --yaml-path {desk.config}") == 0
    return desk


def test_what_the_trader_did_is_what_is_judged(bench: Bench) -> None:
    desk = deployed(bench)
    desk.open()
    desk.through(desk.boundaries())
    desk.trader.close()
    deals = desk.replayed()[0]
    nets = [deal[5] - deal[6] for deal in deals if deal[2].startswith(("CLOSE", "REDUCE"))]
    assert promote(bench, desk, "--apply") == 0, bench.err
    report = bench.json()
    metrics = report["metrics"]
    assert metrics["trader_config_id"] == report["config_id"] == id_of(deployable())
    n_closes = sum(deal[2].startswith("CLOSE") for deal in deals)
    assert n_closes > 5
    assert (metrics["closes"], metrics["realised"]) == (n_closes, len(nets))
    assert metrics["net_usd"] == pytest.approx(sum(nets))
    gains, losses = (sum(sign * max(0.0, sign * net) for net in nets) for sign in (1.0, -1.0))
    assert metrics["profit_factor"] == pytest.approx(gains / -losses)
    assert metrics["rows_without_fee"] == metrics["kill_events"] == 0
    assert 0.0 < metrics["max_drawdown_pct"] < 100.0
    assert Path("live.yaml").read_text() == deployable()


def test_a_switch_that_the_trader_threw_stops_the_promotion(bench: Bench) -> None:
    desk = deployed(bench, limits=Limits(max_drawdown_pct=0.01))
    desk.open()
    desk.through(desk.boundaries())
    desk.trader.close()
    assert promote(bench, desk, "--apply") == 1
    failed = [gate["name"] for gate in bench.json()["gates"] if not gate["passed"]]
    assert failed == ["kill_events"]


def test_a_trader_that_runs_another_file_stops_it_too(bench: Bench) -> None:
    desk = deployed(bench)
    desk.config.write_text(deployable().replace("leverage: 3.0", "leverage: 2.0"))
    desk.open()
    desk.through(desk.boundaries())
    desk.trader.close()
    assert promote(bench, desk) == 2
    assert "it was replaced by other means" in bench.err
    # Put back since; what was traded is still that of the other one.
    desk.config.write_text(deployable())
    assert promote(bench, desk) == 1
    assert "[FAIL] the trader runs" in bench.err
    assert json.loads(bench.out)["passed"] is False
