"""Which databases, which part of them and which symbols a run gets, in both semantics."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mei.model.errors import ConfigError, DataError
from mei.model.semantics import REFERENCE, STRICT, Semantics
from mei.workflows.market import (
    Besides,
    MarketRequest,
    Series,
    Sources,
    Universe,
    check_finer,
    find_sources,
    find_window,
    load_besides,
    load_universe,
    refuse_untraded,
)
from mei.workflows.strategy import load_strategy
from mei.workflows.window import Window
from tests.workflows.databases import (
    HOUR_MS,
    START_MS,
    write_candles,
    write_funding,
    write_universe,
)

FIVE_MS = 300_000
N_HOURS = 10


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ten hours of 1h and 5m candles, funding, and a strategy file, in the working directory."""
    monkeypatch.chdir(tmp_path)
    write_candles(tmp_path, "1h", HOUR_MS, N_HOURS, symbols=("BTC", "ETH", "SOL"))
    write_candles(tmp_path, "5m", FIVE_MS, N_HOURS * 12, symbols=("ETH", "SOL"))
    write_funding(tmp_path, N_HOURS)
    (tmp_path / "config.yaml").write_text("global: {engine: {exit_interval: 5m}}\n")
    return tmp_path


def sources_of(request: MarketRequest, config: str = "config.yaml") -> Sources:
    """Where the bars of a request come from."""
    strategy = load_strategy(
        "mei_alpha",
        config=config,
        live=False,
        symbol=request.symbol,
        slippage_bps=None,
        semantics=STRICT,
        tell=print,
    )
    return find_sources(request, strategy)


def loaded(
    request: MarketRequest, semantics: Semantics
) -> tuple[Window, Universe, Besides, list[str]]:
    """What a replay would run on, and what was told."""
    told: list[str] = []
    sources = sources_of(request)
    scope = sources.around() or [sources.main]
    window = find_window(request, scope, semantics, "replay", told.append)
    universe = load_universe(request, sources.main, window, semantics, "replay", told.append)
    besides = load_besides(request, sources, universe, window, semantics, "replay", told.append)
    return window, universe, besides, told


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (
            MarketRequest(),
            Sources(
                Series("candles_dbs/candles_1h.db", "1h"),
                Series("candles_dbs/candles_5m.db", "5m"),
                None,
            ),
        ),
        (
            MarketRequest(interval="15m", exit_interval="1m", entry_interval="3m"),
            Sources(
                Series("candles_dbs/candles_15m.db", "15m"),
                Series("candles_dbs/candles_1m.db", "1m"),
                Series("candles_dbs/candles_3m.db", "3m"),
            ),
        ),
        (
            MarketRequest(candles_db="a.db", exit_candles_db="x.db", entry_candles_db="e.db"),
            Sources(
                Series("a.db", "1h"), Series("x.db", "5m"), Series("e.db", "1h", is_scoped=False)
            ),
        ),
        (
            MarketRequest(exit_interval=""),
            Sources(
                Series("candles_dbs/candles_1h.db", "1h"),
                Series("candles_dbs/candles_.db", ""),
                None,
            ),
        ),
    ],
)
def test_flags_come_before_settings_and_defaults(
    folder: Path, request_: MarketRequest, expected: Sources
) -> None:
    assert sources_of(request_) == expected


def test_label_names_the_first_file_of_many(folder: Path) -> None:
    assert Series("candles_dbs", "1h").label.startswith("candles_dbs/candles_1h.db (+2 part")
    assert Series("candles_dbs/candles_1h.db", "1h").label == "candles_dbs/candles_1h.db"


def test_reference_counts_bars_by_their_open(folder: Path) -> None:
    request = MarketRequest(start_ms=START_MS + HOUR_MS, end_ms=START_MS + 2 * HOUR_MS)
    window, _, besides, _ = loaded(request, REFERENCE)
    assert window == Window(START_MS + HOUR_MS, START_MS + 2 * HOUR_MS)
    assert besides.exit_candles is not None
    assert besides.exit_candles.open_ms.min() == window.from_ms
    assert besides.exit_candles.open_ms.max() == window.to_ms
    last_ms = START_MS + N_HOURS * HOUR_MS - FIVE_MS
    assert loaded(MarketRequest(), REFERENCE)[0] == Window(START_MS, last_ms)
    with pytest.raises(DataError, match="later"):
        loaded(MarketRequest(end_ms=last_ms + 1), REFERENCE)


def test_strict_counts_bars_by_their_close(folder: Path) -> None:
    request = MarketRequest(start_ms=START_MS + HOUR_MS, end_ms=START_MS + 2 * HOUR_MS)
    window, _, besides, _ = loaded(request, STRICT)
    assert besides.exit_candles is not None
    assert besides.exit_candles.open_ms.min() + FIVE_MS == window.from_ms
    assert besides.exit_candles.open_ms.max() + FIVE_MS == window.to_ms
    last_ms = START_MS + N_HOURS * HOUR_MS
    assert loaded(MarketRequest(), STRICT)[0] == Window(START_MS, last_ms)
    with pytest.raises(DataError, match="later"):
        loaded(MarketRequest(end_ms=last_ms + 1), STRICT)


@pytest.mark.parametrize(
    ("semantics", "first_ms"), [(REFERENCE, START_MS + 4 * HOUR_MS), (STRICT, START_MS)]
)
def test_funding_starts_where_positions_may_need_it(
    folder: Path, semantics: Semantics, first_ms: int
) -> None:
    request = MarketRequest(
        start_ms=START_MS + 4 * HOUR_MS,
        end_ms=START_MS + 6 * HOUR_MS,
        funding_db="candles_dbs/funding_rates.db",
    )
    _, _, besides, told = loaded(request, semantics)
    assert besides.funding is not None
    assert besides.funding.time_ms.min() == first_ms
    assert besides.funding.time_ms.max() == START_MS + 6 * HOUR_MS
    assert any(line.startswith("[replay] Funding rates: ") for line in told)


def test_without_scope_everything_is_loaded(folder: Path) -> None:
    for semantics in (REFERENCE, STRICT):
        window, _, besides, told = loaded(MarketRequest(auto_scope=False), semantics)
        assert window == Window(None, None)
        assert besides.exit_candles is not None
        assert besides.exit_candles.n_rows == 2 * N_HOURS * 12
        assert "[replay] Effective time range: start=unbounded, end=unbounded" in told


def test_one_symbol_leaves_the_others_as_context_only_in_strict(folder: Path) -> None:
    request = MarketRequest(symbol="ETH", funding_db="candles_dbs/funding_rates.db")
    _, universe, besides, told = loaded(request, STRICT)
    assert universe.candles.symbols == ("BTC", "ETH", "SOL")
    assert universe.traded == frozenset({"ETH"})
    assert universe.tradable == ("ETH",)
    assert besides.exit_candles is not None
    assert besides.exit_candles.symbols == ("ETH",)
    assert besides.funding is not None
    assert besides.funding.symbols == ("ETH",)
    assert "[replay] Loaded 30 bars across 3 symbols, trading ETH" in told
    _, universe, _, told = loaded(MarketRequest(symbol="ETH"), REFERENCE)
    assert universe.candles.symbols == ("ETH",)
    assert universe.traded is None
    assert "[replay] Symbol universe: 3 -> 1 symbols" in told


@pytest.mark.parametrize("semantics", [STRICT, REFERENCE])
def test_universe_keeps_what_was_listed_in_the_window(folder: Path, semantics: Semantics) -> None:
    (folder / "config.yaml").write_text("global: {}\n")
    late_ms = START_MS + 20 * HOUR_MS
    write_universe(folder, [("BTC", 0, late_ms), ("ETH", late_ms, late_ms), ("SOL", 0, START_MS)])
    _, universe, _, _ = loaded(MarketRequest(universe_filter=True), semantics)
    assert universe.candles.symbols == ("BTC", "SOL")
    later = MarketRequest(universe_filter=True, start_ms=START_MS + HOUR_MS)
    assert loaded(later, semantics)[1].candles.symbols == ("BTC",)
    with pytest.raises(DataError, match='"ETH" must be active'):
        loaded(MarketRequest(universe_filter=True, symbol="ETH"), semantics)


def test_universe_that_lists_others_leaves_nothing(folder: Path) -> None:
    write_universe(folder, [("XRP", 0, START_MS + HOUR_MS)])
    with pytest.raises(DataError, match="none is active"):
        loaded(MarketRequest(universe_filter=True), STRICT)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"symbol": "XRP"}, 'Symbol "XRP" not found.* 1h candles of .*, BTC, ETH, SOL$'),
        ({"interval": "2h", "candles_db": "candles_dbs/candles_1h.db"}, "no candles were found"),
        ({"exit_interval": "1m"}, "candles_1m.db"),
        ({"universe_filter": True}, "universe_history.db"),
        ({"funding_db": "none.db"}, "none.db"),
    ],
)
def test_what_is_missing_is_named(folder: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        loaded(MarketRequest(**changes), STRICT)


def test_a_symbol_that_is_not_there_comes_with_what_could_be_meant(folder: Path) -> None:
    names = ("AAVEUSDT", "ADAUSDT", "BTCUSDT", "DOTUSDT", "ETHUSDT", "SOLUSDT")
    write_candles(folder / "usdt", "1h", HOUR_MS, N_HOURS, symbols=names)
    request = MarketRequest(candles_db="usdt/candles_dbs/candles_1h.db", exit_interval="5m")
    with pytest.raises(DataError) as caught:
        loaded(replace(request, symbol="BTC", auto_scope=False), STRICT)
    assert str(caught.value) == (
        'Symbol "BTC" not found: --symbol must be one of the 1h candles of usdt/candles_dbs/candles_1h.db, AAVEUSDT, '
        "ADAUSDT, BTCUSDT, DOTUSDT, ETHUSDT, … (6 in all); did you mean BTCUSDT?"
    )
    with pytest.raises(DataError, match=r'Symbol "BTC" not found in candle DB.*"SOLUSDT"'):
        loaded(replace(request, symbol="BTC", auto_scope=False), REFERENCE)


def _traded(needed: int, semantics: Semantics = STRICT, **changes: Any) -> list[str]:
    """What is told of symbols without a bar to be traded."""
    request = MarketRequest(**changes)
    window, universe, _, _ = loaded(request, semantics)
    told: list[str] = []
    main = sources_of(request).main
    refuse_untraded(universe, main, window, lambda _: needed, semantics, "replay", told.append)
    return told


def test_a_run_in_which_no_bar_is_traded_is_refused_in_strict(folder: Path) -> None:
    (folder / "config.yaml").write_text("global: {}\n")
    assert _traded(N_HOURS) == []
    said = (
        r"no bar is traded: .*candles_1h.db \(1h\) must .*; none has, BTC has 10 of 11 by its end"
    )
    with pytest.raises(DataError, match=said):
        _traded(N_HOURS + 1)
    assert _traded(N_HOURS + 1, REFERENCE) == []
    early = {"end_ms": START_MS + 4 * HOUR_MS}
    assert _traded(4, **early) == []
    with pytest.raises(DataError, match="BTC has 4 of 5"):
        _traded(5, **early)
    late = {"start_ms": START_MS + 4 * HOUR_MS + 1, "end_ms": START_MS + 5 * HOUR_MS - 1}
    with pytest.raises(DataError, match="BTC has 4 of 1 by"):
        _traded(1, **late)
    assert _traded(1, auto_scope=False) == []


def test_symbols_without_a_bar_to_be_traded_are_told(folder: Path) -> None:
    (folder / "config.yaml").write_text("global: {}\n")
    _change(
        "candles_dbs/candles_1h.db",
        "DELETE FROM candles WHERE symbol <> 'BTC' AND t < ?",
        START_MS + 5 * HOUR_MS,
    )
    (line,) = _traded(6)
    assert "2 of 3 never have in the window and are not traded (ETH has 5 of 6, SOL has 5" in line
    with pytest.raises(DataError, match="none has, ETH has 5 of 6"):
        _traded(6, symbol="ETH")


def test_bars_of_unknown_length_cannot_be_known_in_strict(folder: Path) -> None:
    request = MarketRequest(exit_interval="fast", exit_candles_db="candles_dbs/candles_5m.db")
    with pytest.raises(ConfigError, match="'fast'"):
        loaded(MarketRequest(**{**_fields(request), "auto_scope": False}), STRICT)


def _fields(request: MarketRequest) -> dict[str, Any]:
    return {name: getattr(request, name) for name in MarketRequest.__dataclass_fields__}


def _spoil(path: str, symbol: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "UPDATE candles SET l = 0 WHERE symbol = ? AND t = ?", (symbol, START_MS + HOUR_MS)
        )


@pytest.mark.parametrize(("interval", "series"), [("1h", "exit"), ("5m", "exit"), ("5m", "entry")])
def test_a_bar_that_cannot_be_is_refused_in_strict_alone(
    folder: Path, interval: str, series: str
) -> None:
    (folder / "config.yaml").write_text(f"global: {{engine: {{{series}_interval: 5m}}}}\n")
    _spoil(f"candles_dbs/candles_{interval}.db", "SOL")
    said = rf"candles_{interval}.db: the bar of SOL \({interval}\) at 2025-06-01T01:00:00Z .* l=0.0"
    with pytest.raises(DataError, match=said):
        loaded(MarketRequest(), STRICT)
    loaded(MarketRequest(), REFERENCE)
    loaded(MarketRequest(symbol="ETH"), replace(STRICT, context="traded"))


@pytest.mark.parametrize("series", ["exit", "entry"])
@pytest.mark.parametrize(
    "changes",
    [
        {"start_ms": START_MS + 4 * HOUR_MS, "end_ms": START_MS + 5 * HOUR_MS},
        {"symbol": "BTC"},
    ],
)
def test_sub_bars_asked_for_must_be_there_in_strict(
    folder: Path, changes: dict[str, Any], series: str
) -> None:
    (folder / "config.yaml").write_text(f"global: {{engine: {{{series}_interval: 5m}}}}\n")
    hole = (START_MS + 3 * HOUR_MS, START_MS + 6 * HOUR_MS)
    with contextlib.closing(sqlite3.connect("candles_dbs/candles_5m.db")) as database, database:
        database.execute("DELETE FROM candles WHERE t BETWEEN ? AND ?", hole)
    request = MarketRequest(auto_scope=False, **changes)
    said = f"must be {series} candles of interval '5m' in candles_dbs/candles_5m.db .* no bars"
    with pytest.raises(DataError, match=said):
        loaded(request, STRICT)
    _, _, besides, _ = loaded(request, REFERENCE)
    candles = besides.exit_candles if series == "exit" else besides.entry_candles
    assert candles is not None
    assert candles.n_rows == 0


def _relabel(path: str, found: str, label: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE candles SET interval = ? WHERE interval = ?", (label, found))


@pytest.mark.parametrize("series", ["exit", "entry", "main"])
def test_bars_that_are_not_as_long_as_their_label_are_refused_in_strict_alone(
    folder: Path, series: str
) -> None:
    if series == "main":
        (folder / "config.yaml").write_text("global: {}\n")
        _relabel("candles_dbs/candles_1h.db", "1h", "30m")
        request = MarketRequest(interval="30m", candles_db="candles_dbs/candles_1h.db")
        said = "candles_1h.db: bars labelled 30m must open 30m apart, those of BTC mostly open 1h"
    else:
        (folder / "config.yaml").write_text(f"global: {{engine: {{{series}_interval: 5m}}}}\n")
        _relabel("candles_dbs/candles_5m.db", "5m", "15m")
        request = MarketRequest(
            **{f"{series}_interval": "15m", f"{series}_candles_db": "candles_dbs/candles_5m.db"}
        )
        said = "candles_5m.db: bars labelled 15m must open at least 15m apart, those of ETH at"
    with pytest.raises(DataError, match=said):
        loaded(request, STRICT)
    loaded(request, REFERENCE)


@pytest.mark.parametrize("series", ["", "exit_", "entry_"])
def test_months_are_refused_in_strict(folder: Path, series: str) -> None:
    sources = sources_of(MarketRequest(**{f"{series}interval": "1M", f"{series}candles_db": "x"}))
    flag = f"--{series}interval".replace("_", "-")
    with pytest.raises(ConfigError, match=f"{flag} must be .* did you mean 1m"):
        check_finer(sources, STRICT)
    check_finer(sources, REFERENCE)


def test_sub_bars_of_another_label_are_not_there(folder: Path) -> None:
    request = MarketRequest(
        exit_candles_db="candles_dbs/candles_5m.db", exit_interval="3m", auto_scope=False
    )
    with pytest.raises(DataError, match="exit candles of interval '3m' in candles_dbs/candles_5m"):
        loaded(request, STRICT)


def test_symbols_without_sub_bars_are_told_in_strict(folder: Path) -> None:
    def lines(request: MarketRequest, semantics: Semantics) -> list[str]:
        return [line for line in loaded(request, semantics)[3] if "No exit bars" in line]

    assert lines(MarketRequest(), STRICT) == ["[replay] No exit bars for 1 of 3 symbols: BTC"]
    assert lines(MarketRequest(symbol="ETH"), STRICT) == []
    assert lines(MarketRequest(), REFERENCE) == []


def test_many_symbols_without_sub_bars_are_told_in_one_short_line(folder: Path) -> None:
    names = (*(f"S{number:02}" for number in range(22)), "SOL")
    write_candles(folder / "many", "1h", HOUR_MS, N_HOURS, symbols=names)
    request = MarketRequest(candles_db="many/candles_dbs/candles_1h.db")
    (line,) = [line for line in loaded(request, STRICT)[3] if "No exit bars" in line]
    assert line.startswith("[replay] No exit bars for 22 of 23 symbols: S00, S01,")
    assert line.endswith("S19, …")


def _change(path: str, statement: str, *values: object) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(statement, values)


def _warnings(request: MarketRequest, semantics: Semantics) -> list[str]:
    return [line for line in loaded(request, semantics)[3] if "Warning" in line]


def test_candles_that_do_not_fill_the_window_are_told_in_strict(folder: Path) -> None:
    (folder / "config.yaml").write_text("global: {}\n")
    db = "candles_dbs/candles_1h.db"
    assert _warnings(MarketRequest(), STRICT) == []
    _change(db, "DELETE FROM candles WHERE symbol = 'ETH' AND t = ?", START_MS + 4 * HOUR_MS)
    _change(db, "DELETE FROM candles WHERE symbol = 'SOL' AND t > ?", START_MS + 6 * HOUR_MS)
    _change(db, "DELETE FROM candles WHERE symbol = 'BTC' AND t < ?", START_MS + 2 * HOUR_MS)
    late, early, holes = _warnings(MarketRequest(), STRICT)
    place = "[replay] Warning: the 1h candles of candles_dbs/candles_1h.db must"
    assert all(line.startswith(place) for line in (late, early, holes))
    assert "1 of 3 symbols start later (BTC from 2025-06-01T02:00:00Z)" in late
    assert "1 of 3 symbols end earlier (SOL to 2025-06-01T07:00:00Z)" in early
    assert "1 of 3 symbols lack 1 bars (ETH; the longest hole is 1h: ETH 2025-06-01T04" in holes
    assert _warnings(MarketRequest(), REFERENCE) == []
    assert _warnings(MarketRequest(symbol="SOL"), STRICT) == [early.replace("of 3", "of 1")]
    short = MarketRequest(start_ms=START_MS + 2 * HOUR_MS, end_ms=START_MS + 4 * HOUR_MS)
    assert _warnings(short, STRICT) == []


def test_sub_bars_that_do_not_fill_the_window_are_told_in_strict(folder: Path) -> None:
    db = "candles_dbs/candles_5m.db"
    _change(db, "DELETE FROM candles WHERE symbol = 'ETH' AND t = ?", START_MS + 4 * HOUR_MS)
    (line,) = _warnings(MarketRequest(symbol="ETH"), STRICT)
    assert "the 5m candles of candles_dbs/candles_5m.db must have every bar" in line
    assert "longest hole is 5m" in line


def test_prices_that_jump_are_told_in_strict(folder: Path) -> None:
    (folder / "config.yaml").write_text("global: {}\n")
    db = "candles_dbs/candles_1h.db"
    glued = "UPDATE candles SET o = o * 9, h = h * 9, l = l * 9, c = c * 9 WHERE symbol = 'ETH' AND t >= ?"
    _change(db, glued, START_MS + 4 * HOUR_MS)
    (line,) = _warnings(MarketRequest(), STRICT)
    assert line.startswith("[replay] Warning: the 1h candles of candles_dbs/candles_1h.db must be")
    assert "1 of 3 symbols jump, 1 times" in line
    assert "(ETH 2025-06-01T04:00:00Z from " in line
    assert "check whether two markets were glued together" in line
    assert _warnings(MarketRequest(), REFERENCE) == []
    assert _warnings(MarketRequest(symbol="BTC"), STRICT) == []
    # Indicators of a later window are made of these bars, an earlier window does not know them.
    assert _warnings(MarketRequest(start_ms=START_MS + 6 * HOUR_MS), STRICT) == [line]
    assert _warnings(MarketRequest(end_ms=START_MS + 4 * HOUR_MS), STRICT) == []
    _change(db, "UPDATE candles SET h = h * 9 WHERE symbol = 'SOL' AND t = ?", START_MS + HOUR_MS)
    told, spike = _warnings(MarketRequest(), STRICT)
    assert told == line
    assert "1 of 3 symbols have a high or low, 1 in all" in spike
    assert "(SOL 2025-06-01T01:00:00Z at " in spike


def test_sub_bars_whose_prices_jump_are_told_in_strict(folder: Path) -> None:
    db = "candles_dbs/candles_5m.db"
    glued = "UPDATE candles SET o = o * 9, h = h * 9, l = l * 9, c = c * 9 WHERE symbol = 'ETH' AND t >= ?"
    _change(db, glued, START_MS + 4 * HOUR_MS)
    (line,) = _warnings(MarketRequest(symbol="ETH"), STRICT)
    assert "the 5m candles of candles_dbs/candles_5m.db must be of one market" in line


def test_a_market_under_several_names_is_told_in_strict(folder: Path) -> None:
    names = ("BTC", "BTC/USDT", "BTC/USDT:USDT", "BTCEUR", "ETHUSDT", "ETH_USDC", "SOL")
    write_candles(folder / "names", "1h", HOUR_MS, N_HOURS, symbols=names)
    (folder / "config.yaml").write_text("global: {}\n")
    request = MarketRequest(candles_db="names/candles_dbs/candles_1h.db")
    (line,) = _warnings(request, STRICT)
    assert line == (
        "[replay] Warning: every market must stand once in names/candles_dbs/candles_1h.db, 2 stand under several "
        "names, which are traded each as a market of its own: BTC and BTC/USDT and BTC/USDT:USDT, ETHUSDT and "
        "ETH_USDC; leave one name each in the database"
    )
    assert _warnings(request, REFERENCE) == []
    assert _warnings(replace(request, symbol="BTC"), STRICT) == []


FUNDED = MarketRequest(funding_db="candles_dbs/funding_rates.db")


def test_doubtful_funding_is_told_in_strict(folder: Path) -> None:
    (folder / "config.yaml").write_text("global: {}\n")
    (without,) = _warnings(FUNDED, STRICT)
    assert "funding_rates.db must have rates of every symbol, 1 of 3 have none" in without
    db = FUNDED.funding_db or ""
    _change(db, "DELETE FROM funding_rates WHERE symbol = 'ETH' AND time > ?", START_MS + HOUR_MS)
    _change(db, "DELETE FROM funding_rates WHERE symbol = 'BTC' AND (time / 3600000) % 4 > 0")
    told = _warnings(FUNDED, STRICT)
    assert any("of 1 of 3 symbols are mostly 4h apart (BTC)" in line for line in told)
    assert any("symbols end earlier (ETH to 2025-06-01T01:00:00Z)" in line for line in told)
    assert all(line.startswith("[replay] Warning: ") for line in told)
    assert _warnings(FUNDED, REFERENCE) == []


def test_funding_need_not_outlast_the_candles_of_its_symbol(folder: Path) -> None:
    (folder / "config.yaml").write_text("global: {}\n")
    candles, rates = "candles_dbs/candles_1h.db", FUNDED.funding_db or ""
    _change(candles, "DELETE FROM candles WHERE symbol = 'ETH' AND t > ?", START_MS + HOUR_MS)
    _change(
        rates, "DELETE FROM funding_rates WHERE symbol = 'ETH' AND time > ?", START_MS + HOUR_MS
    )
    assert not any("up to the window's end" in line for line in _warnings(FUNDED, STRICT))


@pytest.mark.parametrize("factor", ["/ 1000", "* 1000"])
@pytest.mark.parametrize("semantics", [STRICT, replace(STRICT, funding="after_step")])
def test_funding_times_in_another_unit_are_refused(
    folder: Path, factor: str, semantics: Semantics
) -> None:
    _change(FUNDED.funding_db or "", f"UPDATE funding_rates SET time = time {factor}")
    with pytest.raises(DataError, match=r"time must be in epoch ms .* is a time in (s|µs)"):
        loaded(FUNDED, semantics)
    loaded(FUNDED, REFERENCE)


def test_funding_under_other_names_alone_is_refused(folder: Path) -> None:
    db = FUNDED.funding_db or ""
    _change(db, "UPDATE funding_rates SET symbol = symbol || '/USDT'")
    said = (
        r"names of the candles, BTC, ETH, SOL; found BTC/USDT, ETH/USDT \(there is BTC/USDT for BTC"
    )
    with pytest.raises(DataError, match=said):
        loaded(FUNDED, STRICT)
    loaded(FUNDED, REFERENCE)
