"""What a run writes may be neither what it reads nor written twice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mei.cli import main
from mei.model.errors import ConfigError
from mei.workflows.files import check_apart, write_result
from tests.workflows.databases import HOUR_MS, write_candles, write_funding, write_universe

N_HOURS = 30


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Inputs of every kind in the working directory, and a second name for one."""
    monkeypatch.chdir(tmp_path)
    write_candles(tmp_path, "1h", HOUR_MS, N_HOURS)
    write_candles(tmp_path, "15m", HOUR_MS // 4, N_HOURS * 4)
    write_candles(tmp_path, "5m", HOUR_MS // 12, N_HOURS * 12)
    write_funding(tmp_path, N_HOURS)
    write_universe(tmp_path, [("BTC", 0, 1 << 50), ("ETH", 0, 1 << 50)])
    (tmp_path / "c.yaml").write_text("global: {}\n")
    (tmp_path / "spec.yaml").write_text("axes: [{path: trade.sl_atr_mult, values: [1.5]}]\n")
    (tmp_path / "b.json").write_text('{"balance": 700}')
    (tmp_path / "s.json").write_text("{}")
    (tmp_path / "link.json").symlink_to("b.json")
    return tmp_path


REPLAY = (
    "replay --config c.yaml --candles-db candles_dbs/candles_1h.db,candles_dbs/more.db --exit-interval 15m "
    "--entry-interval 5m --funding-db candles_dbs/funding_rates.db --universe-filter --balance-from b.json "
    "--init-state s.json"
)
SWEEP = "sweep --config c.yaml --sweep-spec spec.yaml --balance-from b.json"
DUMP = "dump-indicators --config c.yaml --symbol BTC"


@pytest.mark.parametrize("semantics", ["strict", "reference"])
@pytest.mark.parametrize(
    ("line", "named"),
    [
        (f"{REPLAY} --output c.yaml", ("--output", "--config")),
        (f"{REPLAY} --output ./candles_dbs/../c.yaml", ("--output", "--config")),
        (f"{REPLAY} --output candles_dbs/candles_1h.db", ("--output", "--candles-db")),
        (f"{REPLAY} --export-trades candles_dbs/more.db", ("--export-trades", "--candles-db")),
        (f"{REPLAY} --output candles_dbs/candles_15m.db", ("--output", "--exit-candles-db")),
        (f"{REPLAY} --output candles_dbs/candles_5m.db", ("--output", "--entry-candles-db")),
        (f"{REPLAY} --output candles_dbs/funding_rates.db", ("--output", "--funding-db")),
        (f"{REPLAY} --output candles_dbs/universe_history.db", ("--output", "--universe-db")),
        (f"{REPLAY} --export-state b.json", ("--export-state", "--balance-from")),
        (f"{REPLAY} --export-state link.json", ("--export-state", "--balance-from")),
        (f"{REPLAY} --output s.json", ("--output", "--init-state")),
        (f"{REPLAY} --output s.json --export-state s.json", ("--output", "--init-state")),
        (f"{REPLAY} --output n --export-trades n", ("--export-trades", "--output")),
        (f"{REPLAY} --export-trades n --export-state ./n", ("--export-state", "--export-trades")),
        (f"{SWEEP} --output spec.yaml", ("--output", "--sweep-spec")),
        (f"{SWEEP} --output c.yaml", ("--output", "--config")),
        (f"{SWEEP} --output b.json", ("--output", "--balance-from")),
        (f"{SWEEP} --output candles_dbs/candles_1h.db", ("--output", "--candles-db")),
        (f"{DUMP} --output c.yaml", ("--output", "--config")),
        (f"{DUMP} --output candles_dbs/candles_1h.db", ("--output", "--candles-db")),
    ],
)
def test_nothing_read_is_written_over(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    line: str,
    named: tuple[str, str],
    semantics: str,
) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert main.run([*line.split(), "--semantics", semantics]) == ConfigError.exit_code
    said = capsys.readouterr().err
    assert f"{named[0]} must be a file of its own" in said
    assert f"that of {named[1]}" in said
    assert "[bt-data]" not in said
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_state_may_be_continued_in_place_and_a_device_shared(folder: Path) -> None:
    check_apart([("--export-state", "s.json")], [("--init-state", "s.json")])
    check_apart([("--output", "/dev/null"), ("--export-trades", "/dev/null")], [])
    check_apart([("--output", None), ("--export-trades", None)], [("--config", None)])
    with pytest.raises(ConfigError, match="--export-trades"):
        check_apart(
            [("--export-state", "s.json"), ("--export-trades", "s.json")],
            [("--init-state", "s.json")],
        )


def test_a_redirected_standard_output_is_written_to_as_it_is(tmp_path: Path) -> None:
    """As `--output /dev/stdout >> file`, by a name that no mistake could replace: the file goes on."""
    program = """
from mei.workflows.files import write_result
write_result("/proc/self/fd/1", "a report")
"""
    target = tmp_path / "o.json"
    target.write_text("before, ")
    with target.open("ab") as output:
        subprocess.run([sys.executable, "-c", program], stdout=output, check=True)
    assert target.read_text() == "before, a report"


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there/o.json", tmp_path / "o.json"
    real.write_text("old")
    link.symlink_to(real)
    write_result(str(link), "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
