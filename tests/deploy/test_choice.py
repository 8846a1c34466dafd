"""Whether the choice survives its trials: by the ledger, by sweep.json, by the rows alone, or it cannot be told."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import pytest

from mei.ledger.database import Ledger
from mei.ledger.sweeps import TrialsRow, count_sweep
from mei.metrics.overfitting import (
    Trials,
    deflated_sharpe_ratio,
    expected_best_sharpe,
    moments,
)
from mei.workflows.deploy.choice import Survival, choose, survival

DAY_MS = 86_400_000
N_ROWS = 5
#: Annualised, of the rows; the first is the choice.
SHARPES = [30.0, 1.0, 0.5, -1.0, 0.0]
RETURNS = [0.02 + 0.001 * math.sin(day * day) for day in range(60)]


@pytest.fixture(name="results")
def _results(tmp_path: Path) -> Path:
    """A sweep's rows, and what it left beside them: a curve of the first row and 7 trials in all."""
    path = tmp_path / "rows.jsonl"
    rows = [
        {"config_id": f"s{n}", "overrides": {"trade.leverage": n + 1.0}, "total_pnl": -n}
        | {"sharpe_ratio": sharpe, "total_trades": 9}
        for n, sharpe in enumerate(SHARPES)
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    equity = [10_000.0]
    for change in RETURNS:
        equity.append(equity[-1] * (1.0 + change))
    folder = tmp_path / "rows.jsonl.best"
    folder.mkdir()
    curve = [[day * DAY_MS, usd] for day, usd in enumerate(equity)]
    report = {"config_id": "s0", "overrides": {"trade.leverage": 1.0}, "equity_curve": curve}
    (folder / "01_s0.json").write_text(json.dumps(report))
    put_about(path)
    return path


def put_about(path: Path, **fields: Any) -> None:
    """Write sweep.json."""
    about = {"rows": N_ROWS, "trials_on_this_market": 7, "market_id": "m", **fields}
    (Path(f"{path}.best") / "sweep.json").write_text(json.dumps(about))


def judged(path: Path, rank: int = 1, ledger: str | None = None) -> Survival:
    """The verdict."""
    return survival(choose(str(path), rank), ledger)


def variance(sharpes: list[float]) -> float:
    """Of the sample, of Sharpe ratios a day."""
    mean = sum(sharpes) / len(sharpes)
    return sum((one - mean) ** 2 for one in sharpes) / (len(sharpes) - 1) / 365


def equity_returns() -> list[float]:
    """The daily returns that the curve has."""
    equity = [10_000.0]
    for change in RETURNS:
        equity.append(equity[-1] * (1.0 + change))
    return [(now - then) / then for then, now in itertools.pairwise(equity)]


def test_it_is_deflated_by_the_trials_of_sweep_json(results: Path) -> None:
    found = judged(results)
    expected = deflated_sharpe_ratio(moments(equity_returns()), Trials(7, variance(SHARPES)))
    assert expected.value is not None
    assert "deflated Sharpe ratio, 7 trials on this market by sweep.json: " in found.line
    assert f"{expected.value:.3f}, survives" in found.line
    assert found.survives is True


@pytest.mark.parametrize("trades", [{"total_trades": 0}, {}, {"total_trades": None}])
def test_rows_that_never_trade_do_not_help(results: Path, trades: dict[str, Any]) -> None:
    """They count as trials, but luck looks no more harmless for them."""
    lines = results.read_text().splitlines()
    wild = json.loads(lines[-1]) | {"sharpe_ratio": -2000.0}
    results.write_text("\n".join([*lines[:-1], json.dumps(wild)]))
    assert judged(results).survives is False
    idle = {"overrides": {"trade.leverage": 9.0}, "total_pnl": -9.0, "sharpe_ratio": 0.0, **trades}
    with results.open("a") as file:
        file.writelines(f"\n{json.dumps(idle | {'config_id': f'i{n}'})}" for n in range(400))
    put_about(results, rows=N_ROWS + 400, trials_on_this_market=N_ROWS + 400)
    found = judged(results)
    assert "405 trials" in found.line
    assert found.survives is False
    (results.parent / "rows.jsonl.best/sweep.json").unlink()
    best = expected_best_sharpe(Trials(N_ROWS + 400, variance([*SHARPES[:-1], -2000.0])))
    assert f"a best Sharpe ratio of {best * math.sqrt(365):.2f} of so many" in judged(results).line


def test_a_single_row_that_trades_among_many_cannot_be_told(results: Path) -> None:
    first, *others = map(json.loads, results.read_text().splitlines())
    idle = [one | {"sharpe_ratio": 0.0, "total_trades": 0} for one in others]
    results.write_text("\n".join(json.dumps(one) for one in (first, *idle)))
    found = judged(results)
    assert found.survives is None
    assert "the variance of the trials is not defined" in found.line


def test_a_choice_that_luck_could_have_made_does_not_survive(results: Path) -> None:
    put_about(results, trials_on_this_market=10**9)
    text = results.read_text().replace("0.5", "400.0")
    results.write_text(text)
    found = judged(results)
    assert found.survives is False
    assert "1,000,000,000 trials" in found.line
    assert "does not survive (below 0.95): luck alone could have made it" in found.line


def test_the_ledger_counts_sweeps_that_came_later(results: Path, tmp_path: Path) -> None:
    where = tmp_path / "manifest.sqlite"
    with Ledger.open(where) as ledger, ledger.unit_of_work() as work:
        for name, n_trials, m2 in (("a", 7, 3_000.0), ("b", 1_000, 800_000.0)):
            row = TrialsRow("m", name, "mei_alpha", n_trials, n_trials, 1.0, m2, 0)
            count_sweep(work.connection, row)
        work.commit("test")
    found = judged(results, ledger=str(where))
    assert f"1,007 trials on this market by {where}" in found.line
    trials = Trials(1_007, (3_000.0 + 800_000.0) / 1_006 / 365)
    expected = deflated_sharpe_ratio(moments(equity_returns()), trials)
    assert expected.value is not None
    assert f": {expected.value:.3f}, " in found.line
    # Of another market it knows nothing.
    put_about(results, market_id="n")
    assert "7 trials on this market by sweep.json" in judged(results, ledger=str(where)).line


def test_a_ledger_that_is_not_there_is_not_made(results: Path, tmp_path: Path) -> None:
    assert "sweep.json" in judged(results, ledger=str(tmp_path / "no.sqlite")).line
    assert not (tmp_path / "no.sqlite").exists()


def test_a_ledger_that_cannot_be_read_is_passed_over(results: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.sqlite").write_text("no database, though of some length " * 40)
    assert "by sweep.json" in judged(results, ledger=str(tmp_path / "bad.sqlite")).line


def test_without_any_count_it_cannot_be_told(results: Path) -> None:
    (results.parent / "rows.jsonl.best/sweep.json").unlink()
    found = judged(results)
    assert found.survives is None
    assert "cannot be told" in found.line
    assert "neither a ledger nor" in found.line


def test_what_does_not_even_survive_the_rows_of_its_file(results: Path) -> None:
    (results.parent / "rows.jsonl.best/sweep.json").unlink()
    found = judged(results, rank=4)
    assert found.survives is False
    best = expected_best_sharpe(Trials(N_ROWS, variance(SHARPES))) * math.sqrt(365)
    assert (
        f"5 trials in this file alone: does not survive, luck alone makes a best Sharpe ratio of {best:.2f}"
        in (found.line)
    )


def test_without_a_curve_it_cannot_be_told(results: Path) -> None:
    (results.parent / "rows.jsonl.best/01_s0.json").unlink()
    found = judged(results)
    assert found.survives is None
    assert "the sweep kept no curve of this row (sweep with --rerun 1)" in found.line


@pytest.mark.parametrize(
    "fields",
    [
        {"overrides": {"trade.leverage": 9.0}},
        {"config_id": "s1"},
        {"equity_curve": 3},
        {"equity_curve": [[0, None]]},
    ],
)
def test_the_report_of_another_row_is_not_taken(results: Path, fields: dict[str, Any]) -> None:
    path = results.parent / "rows.jsonl.best/01_s0.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    assert judged(results).survives is None


def test_sweep_json_of_another_sweep_is_not_taken(results: Path) -> None:
    put_about(results, rows=6)
    assert "neither a ledger nor" in judged(results).line


def test_a_row_without_a_sharpe_ratio(results: Path) -> None:
    results.write_text(results.read_text().replace("30.0", "null"))
    (results.parent / "rows.jsonl.best/01_s0.json").unlink()
    assert "the row has no Sharpe ratio" in judged(results).line
