"""report.html: whole, self-contained, escaped, the same bytes every time, and drawn by a browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mei.report.charts import MAX_POINTS
from mei.report.html import write_report
from mei.report.summary import build_summary
from mei.report.thinning import Thinning
from tests.report.conftest import MadeUpRun, write_run


def report_of(run: MadeUpRun, trainings: list[dict[str, Any]] | None = None) -> str:
    """Text of the report of a made-up run."""
    trainings = run.trainings if trainings is None else trainings
    summary = build_summary(
        run.equity_csv,
        run.trades_csv,
        trainings,
        run.settings,
        run=run.run,
        regime_of=lambda strategy, symbol, opened_ms: "<b>calm</b>",
        notes=["BTC/USDT: 2 gaps & <i>47</i> missing bars"],
    )
    path = run.equity_csv.parent / "report.html"
    write_report(path, summary, run.equity_csv, run.trades_csv)
    return path.read_text()


def figures_of(page: str) -> dict[str, Any]:
    """The chart data a page carries."""
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.S)
    assert found is not None
    figures: dict[str, Any] = json.loads(found[1])
    return figures


def without_scripts(page: str) -> str:
    """The page as markup, chart library and data left out."""
    return re.sub(r"<script.*?</script>", "", page, flags=re.S)


def test_same_run_gives_the_same_bytes(made_up_run: MadeUpRun) -> None:
    assert report_of(made_up_run) == report_of(made_up_run)


def test_page_needs_no_network(made_up_run: MadeUpRun) -> None:
    markup = without_scripts(report_of(made_up_run))
    assert not re.search(r"(src|href)\s*=|url\(|@import", markup)


def test_key_numbers_stand_with_units_and_periods(made_up_run: MadeUpRun) -> None:
    markup = without_scripts(report_of(made_up_run))
    assert re.search(r"Sharpe ratio</div>.*?daily, 365 periods/year", markup, re.S)
    for label in ("Total return", "Max drawdown", "Fees", "Slippage", "Win rate", "Trainings"):
        assert label in markup
    assert "run <code>0123456789ab</code>" in markup
    assert '<span class="badge finished">finished</span>' in markup


def test_texts_of_a_run_are_escaped(made_up_run: MadeUpRun) -> None:
    page = report_of(made_up_run)
    markup = without_scripts(page)
    assert "<b>calm</b>" not in markup
    assert "&lt;b&gt;calm&lt;/b&gt;" in markup
    assert "2 gaps &amp; &lt;i&gt;47&lt;/i&gt;" in markup
    assert "fit &lt;failed&gt; &amp; why" in markup


def test_script_in_a_reason_cannot_leave_the_data(made_up_run: MadeUpRun) -> None:
    ending = "</script><script>alert(1)</script>"
    trainings = [
        {**made_up_run.trainings[0], "reason": ending},
        {**made_up_run.trainings[2], "status": ending},
    ]
    page = report_of(made_up_run, trainings)
    assert "<script>alert" not in page
    assert "&lt;/script&gt;" in figures_of(page)["models-chart"]["data"][0]["text"][0]


def test_no_nan_reaches_the_page(made_up_run: MadeUpRun) -> None:
    page = report_of(made_up_run)
    assert "NaN" not in json.dumps(figures_of(page))
    assert "nan" not in without_scripts(page).lower().replace("finance", "")


def test_curves_are_thinned_and_keep_the_extremes(tmp_path: Path) -> None:
    run = write_run(tmp_path, n_bars=20_000)
    curve = figures_of(report_of(run))["equity-chart"]["data"][0]
    rows = run.equity_csv.read_text().splitlines()[1:]
    equity = [float(row.split(",")[1]) for row in rows]
    assert len(curve["y"]) <= MAX_POINTS
    assert (min(curve["y"]), max(curve["y"])) == (min(equity), max(equity))
    assert (curve["y"][0], curve["y"][-1]) == (equity[0], equity[-1])
    assert curve["x"] == sorted(set(curve["x"]))


def test_gate_is_drawn_where_the_settings_put_it(made_up_run: MadeUpRun) -> None:
    made_up_run.settings["training_settings"] = {"promotion_min_delta": 0.02}
    shapes = figures_of(report_of(made_up_run))["models-chart"]["layout"]["shapes"]
    assert [shape["y0"] for shape in shapes] == [0.02]


def test_trades_newest_first_at_most_200(tmp_path: Path) -> None:
    run = write_run(tmp_path, n_bars=60 * 230)
    markup = without_scripts(report_of(run))
    table = markup.split("Last 200 closed trades")[1].split("</table>")[0]
    assert table.count("<tr>") == 201
    closed = re.findall(r"<tr><td>(.*?)</td>", table)
    assert closed == sorted(closed, reverse=True)


@pytest.mark.parametrize("n_bars", [0, 1, 20])
def test_run_without_trades_or_bars_still_has_a_report(tmp_path: Path, n_bars: int) -> None:
    markup = without_scripts(report_of(write_run(tmp_path, n_bars=n_bars), []))
    assert "No closed trade." in markup or "no closed trade" in markup


@pytest.mark.parametrize(("n_rows", "max_points"), [(10, 100), (100, 10), (1_001, 50), (1, 4)])
def test_thinning_does_not_depend_on_the_blocks(n_rows: int, max_points: int) -> None:
    values = np.random.default_rng(1).normal(size=n_rows)
    whole, parts = Thinning(n_rows, max_points), Thinning(n_rows, max_points)
    whole.add(values, np.arange(n_rows, dtype=np.float64))
    for start in range(0, n_rows, 7):
        stop = min(start + 7, n_rows)
        parts.add(values[start:stop], np.arange(start, stop, dtype=np.float64))
    assert whole.rows() == parts.rows()
    assert len(whole.rows()) <= max_points
    if n_rows <= max_points:
        assert len(whole.rows()) == n_rows


def test_browser_draws_every_chart(made_up_run: MadeUpRun) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium on PATH (Debian: apt-get install chromium; .ci/run does)")
    report_of(made_up_run)
    path = made_up_run.equity_csv.parent / "report.html"
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000"]
    profile = f"--user-data-dir={path.parent / 'profile'}"
    done = subprocess.run(
        [chromium, *options, profile, "--enable-logging=stderr", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert 'data-drawn="yes"' in done.stdout
    assert len(re.findall(r'class="chart js-plotly-plot"', done.stdout)) == 4
    assert "Uncaught" not in done.stderr
