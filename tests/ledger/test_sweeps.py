"""Trials of sweeps: which count against one another."""

from __future__ import annotations

from sqlalchemy import update

from mei.ledger.database import Ledger
from mei.ledger.sweeps import TrialsRow, count_sweep, trials_on
from mei.ledger.tables import sweep_trials


def row(
    market: str, sweep: str, symbols: tuple[str, ...] = (), timeframe: str = "1h", n_trials: int = 5
) -> TrialsRow:
    return TrialsRow(market, sweep, "mei_alpha", n_trials, 3, 0.5, 0.25, 7, symbols, timeframe)


def count(ledger: Ledger, *rows: TrialsRow) -> None:
    with ledger.unit_of_work() as work:
        for one in rows:
            count_sweep(work.connection, one)
        work.commit("test")


def counted(ledger: Ledger, market: str, *symbols: str) -> list[str]:
    with ledger.reader() as connection:
        return [found.sweep_id for found in trials_on(connection, market, symbols)]


def as_of_an_older_release(ledger: Ledger, market: str) -> None:
    with ledger.unit_of_work() as work:
        of_market = update(sweep_trials).where(sweep_trials.c.data_id == market)
        work.connection.execute(of_market.values(symbols_json=None, timeframe=None))
        work.commit("test")


def test_sweeps_that_share_a_symbol_count_whatever_their_interval(ledger: Ledger) -> None:
    count(
        ledger,
        row("m1", "three", ("BTC", "ETH", "SOL")),
        row("m2", "two", ("BTC", "ETH")),
        row("m3", "other interval", ("SOL",), "15m"),
        row("m4", "stranger", ("DOGE",)),
    )
    assert counted(ledger, "m1", "BTC", "ETH", "SOL") == ["three", "two", "other interval"]
    assert counted(ledger, "m2", "BTC", "ETH") == ["three", "two"]
    assert counted(ledger, "m4", "DOGE") == ["stranger"]
    assert counted(ledger, "new", "SOL", "DOGE") == ["three", "other interval", "stranger"]


def test_a_market_is_known_by_the_symbols_of_its_own_rows(ledger: Ledger) -> None:
    count(ledger, row("m1", "one", ("BTC", "ETH")), row("m2", "two", ("ETH",)))
    assert counted(ledger, "m1") == ["one", "two"]
    assert counted(ledger, "none") == []


def test_rows_of_older_releases_count_on_their_market_alone(ledger: Ledger) -> None:
    count(ledger, row("m1", "old"), row("m1", "new", ("BTC",)), row("m2", "strange old"))
    as_of_an_older_release(ledger, "m1")
    count(ledger, row("m1", "new", ("BTC",), n_trials=2))
    assert counted(ledger, "m1", "BTC") == ["new", "old"]
    assert counted(ledger, "m3", "BTC") == ["new"]
    with ledger.reader() as connection:
        found = {one.sweep_id: one for one in trials_on(connection, "m1")}
    assert found["new"] == row("m1", "new", ("BTC",))  # the larger count, and now its symbols
    assert (found["old"].symbols, found["old"].timeframe) == ((), "")
