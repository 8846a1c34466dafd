"""The paper trader: a step is a replay that goes on from the state before it, over the bars that came since.

One transaction writes trades, what is held, the curve and the state to go on from: whatever stops the program, the
next start goes on from a whole step.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mei.data.candle_db import load_candles
from mei.data.init_state import read_init_state
from mei.data.trading_db import (
    engine_revision,
    insert_audit,
    insert_equity,
    insert_signals,
    insert_trades,
    last_balance_usd,
    open_trading_db,
    position_rows,
    read_engine_state,
    read_trader_state,
    replace_positions,
    stamp_text,
    telling,
    write_engine_state,
    write_trader_state,
    writing,
)
from mei.model import faults
from mei.model.errors import ConfigError, ConflictError, DataError, MeiError
from mei.model.replay import InitState
from mei.workflows.market import LoadCandles
from mei.workflows.paper import books
from mei.workflows.paper.config_watch import ConfigWatch, Loaded
from mei.workflows.paper.events import Event, kill_event, odd_events
from mei.workflows.paper.feed import Feed
from mei.workflows.paper.fills import Fill, fills_of
from mei.workflows.paper.request import CLOSE_ONLY, HALT_ALL, PaperRequest
from mei.workflows.paper.risk import (
    DAILY_LOSS,
    Memory,
    follow,
    memory_of,
    mode_of,
    paused_by,
    resumed,
)
from mei.workflows.paper.state import (
    PaperState,
    moved_on,
    row_of,
    state_of,
    transplanted,
    without_entries,
)
from mei.workflows.paper.stepping import Step, go_on, tradable, warmed_up
from mei.workflows.paper.warm_up import WarmUp, summary, warm_up_of
from mei.workflows.strategy import Tell


@dataclass(frozen=True, slots=True)
class Advanced:
    """What an advance did. as_of_ms: until when everything is known now. mode: and why."""

    as_of_ms: int
    n_steps: int
    n_trades: int
    mode: str
    why: str


class PaperTrader:
    """Trades a strategy file over candle databases into a trading database. Not for several threads at once."""

    def __init__(
        self,
        request: PaperRequest,
        tell: Tell,
        load: LoadCandles = load_candles,
        hear_fill: Callable[[Fill], None] | None = None,
    ) -> None:
        """hear_fill: hears of what was written, after it was; None = `tell` hears its line."""
        self._request = request
        self._tell = tell
        self._load = load
        self._hear_fill = hear_fill or (lambda fill: tell(fill.line))
        self._watch = ConfigWatch(request, tell)
        self._loaded: Loaded | None = None
        #: Of `_loaded`, what symbols are known to and boundaries were taken with; /state asks from another thread.
        self._settled: Loaded | None = None
        self._feed: Feed | None = None
        self._told_fault = ""
        self._is_open = False
        self._seen: PaperState | None = None
        self._kept = ExitStack()
        self._conn: sqlite3.Connection | None = None

    @property
    def config_fault(self) -> str:
        """Why the newest content of the strategy file is not in use; empty when it is."""
        return self._watch.fault

    def warm_up(self, state: PaperState) -> list[WarmUp]:
        """Every symbol traded, by the settings in use; empty before `open` came through."""
        if self._settled is None:
            return []
        return warm_up_of(state, self._settled, self._open_feed, self._request.lookback)

    def open(self, now_ms: int) -> PaperState:
        """Read the settings and the state; the first start makes one, which trades nothing that is known by now.

        Raises ConfigError for settings that cannot be used, or cannot go on with what is held; DataError without
        candles.
        """
        self._request.check()
        loaded = self._watch.load()
        self._loaded = loaded
        self._feed = Feed(loaded.sources, self._request.market, self._tell, self._load)
        with self._database() as conn:
            state = self._read(conn)
            if state is None:
                state = self._begin(conn, now_ms)
            else:
                memory = memory_of(read_trader_state(conn))
                state, memory = self._other_series(conn, state, memory, now_ms)
                if loaded.config_id != state.config_id:
                    state = self._changed_while_down(conn, state, memory, now_ms)
                self._note_pause_file(conn, now_ms)
        # The candles may hold symbols that the state has not seen yet: the next step says what is without effect.
        loaded.strategy.prepare(tuple(state.symbols), tells=False)
        self._settled = loaded
        self._is_open = True
        self._tell(summary(self.warm_up(state)))
        return state

    def advance(self, now_ms: int) -> Advanced:
        """Take every boundary that may be taken by now (epoch ms UTC). Raises MeiError; what was taken before stays."""
        if not self._is_open:
            self.open(now_ms)
        with self._database() as conn:
            state = self._must_read(conn)
            memory = memory_of(read_trader_state(conn))
            state = self._reload(conn, state, memory, now_ms)
            paused, fault = paused_by(self._request.pause_file)
            mode, why = mode_of(memory, paused)
            memory = self._told_mode(conn, memory, mode, why, fault, now_ms)
            feed = self._open_feed
            if mode == HALT_ALL:
                return Advanced(state.as_of_ms, 0, 0, mode, why)
            if memory.is_halted:
                state, memory = self._after_halt(conn, state, memory, now_ms)
            until_ms = feed.settled_ms(
                state.as_of_ms,
                now_ms,
                self._request.grace_ms,
                state.held(),
                awaits_fetches=self._request.awaits_fetches,
            )
            return self._take(conn, state, memory, until_ms, now_ms, paused)

    def pause(self, mode: str, now_ms: int) -> None:
        """Remember an operator's mode until `resume`. mode: `close_only` or `halt_all`."""
        with self._database() as conn:
            memory = replace(memory_of(read_trader_state(conn)), pause=mode)
            self._remember(conn, memory, now_ms, Event("PAUSED", "warning", {"mode": mode}))

    def resume(self, now_ms: int) -> None:
        """Forget an operator's pause and a kill; losses count from the newest equity on. A pause file stays."""
        with self._database() as conn:
            before = memory_of(read_trader_state(conn))
            data = {"kill": before.kill, "pause": before.pause}
            self._remember(conn, resumed(before), now_ms, Event("RESUMED", "warning", data))

    def close(self) -> None:
        """Let the database go."""
        self._kept.close()
        self._conn = None

    # ------------------------------------------------------------------ steps

    def _take(
        self,
        conn: sqlite3.Connection,
        state: PaperState,
        memory: Memory,
        until_ms: int,
        now_ms: int,
        paused: str,
    ) -> Advanced:
        """From the state to a boundary, in as many steps as modes change. paused: the mode of the pause file."""
        n_steps = n_trades = 0
        events: list[Event] = []
        if state.as_of_ms < until_ms:
            memory, events = odd_events(self._open_feed, state, memory, until_ms)
        while state.as_of_ms < until_ms:
            memory = self._next_day(conn, state, memory, now_ms)
            mode, _ = mode_of(memory, paused)
            end_ms = until_ms
            if memory.kill == DAILY_LOSS:
                end_ms = min(until_ms, memory.day_is_over_ms)
            begun = without_entries(state) if mode == CLOSE_ONLY else state
            step = self._run(begun, end_ms, closes_only=mode == CLOSE_ONLY)
            points = books.points_of(step.result, begun)
            after, trip = follow(
                memory,
                [(point.timestamp_ms, point.equity_usd) for point in points],
                self._request.limits,
            )
            if trip is not None and trip.at_ms < end_ms:
                step = self._run(begun, trip.at_ms, closes_only=mode == CLOSE_ONLY)
            if trip is not None:
                events.append(kill_event(trip, step.after))
            state = self._commit(conn, state, step, after, events, now_ms)
            memory, events = after, []
            n_steps += 1
            n_trades += len(step.result.trades) - step.result.n_ending
        mode, why = mode_of(memory, paused)
        return Advanced(state.as_of_ms, n_steps, n_trades, mode, why)

    def _run(self, state: PaperState, until_ms: int, *, closes_only: bool) -> Step:
        return go_on(
            self._request,
            self._open_settings,
            self._open_feed,
            state,
            until_ms,
            closes_only=closes_only,
        )

    def _commit(
        self,
        conn: sqlite3.Connection,
        before: PaperState,
        step: Step,
        memory: Memory,
        events: Sequence[Event],
        now_ms: int,
    ) -> PaperState:
        at = stamp_text(now_ms)
        after = without_entries(step.after) if memory.kill else step.after
        rows, ids = books.trades_of(step.result, step.reasons, before)
        row = row_of(after, at)
        with writing(conn):
            faults.hit("paper.step.begun")
            numbers = insert_trades(conn, rows)
            if rows:
                faults.hit("paper.step.trades")
            opened = books.opened_rows(rows, ids, numbers)
            held = books.positions_of(after, opened, before, position_rows(conn), at)
            replace_positions(conn, held)
            insert_signals(conn, books.signal_rows(step.signals))
            insert_equity(conn, books.points_of(step.result, before))
            write_engine_state(conn, row)
            write_trader_state(conn, memory.plain())
            for event in events:
                self._audit(conn, now_ms, event)
            faults.hit("paper.step.before_commit")
        faults.hit("paper.step.after_commit")
        # Not before: a step that is given up has traded nothing.
        for fill in fills_of(rows):
            self._hear_fill(fill)
        return replace(after, revision=row.revision)

    def _next_day(
        self, conn: sqlite3.Connection, state: PaperState, memory: Memory, now_ms: int
    ) -> Memory:
        """A daily loss holds entries back until its UTC day is over."""
        if memory.kill != DAILY_LOSS or state.as_of_ms < memory.day_is_over_ms:
            return memory
        memory = replace(memory, kill="", killed_ms=None)
        event = Event("RISK_RESET_DAILY_LOSS", "info", {"as_of_ms": state.as_of_ms})
        self._remember(conn, memory, now_ms, event)
        return memory

    # ------------------------------------------------------------------ settings and state

    def _begin(self, conn: sqlite3.Connection, now_ms: int) -> PaperState:
        """The first state: warmed up with what is there, or the one of an init-state."""
        request, loaded, feed = self._request, self._open_settings, self._open_feed
        feed.refuse_unfinished(now_ms, request.grace_ms)
        as_of_ms = feed.settled_ms(None, now_ms, request.grace_ms, {})
        given = self._given_state(as_of_ms)
        if given is not None and given.continuation is not None:
            found = given.continuation
            state = PaperState(0, int(found["as_of_ms"]), loaded.config_id, found)
            self._run(state, feed.next_ms(state.as_of_ms), closes_only=True)
        else:
            state = self._warm(as_of_ms, given)
        usd = state.equity_usd()
        asked = memory_of(read_trader_state(conn)).pause
        memory = Memory(
            pause=asked,
            series=loaded.series,
            last_usd=usd,
            peak_usd=usd,
            pause_file=request.watched_file,
            pause_folder=request.watched_folder,
        )
        rows, ids = books.brought_rows(state)
        at = stamp_text(now_ms)
        with writing(conn):
            faults.hit("paper.begin.begun")
            numbers = insert_trades(conn, rows)
            held = books.positions_of(state, books.opened_rows(rows, ids, numbers), state, [], at)
            replace_positions(conn, held)
            row = row_of(state, at)
            write_engine_state(conn, row)
            write_trader_state(conn, memory.plain())
            data = {
                "as_of_ms": state.as_of_ms,
                "balance_usd": state.balance_usd,
                "positions": sorted(state.held()),
                "not_waited_for": feed.delisted(state),
                "config_id": loaded.config_id,
                "pause_file": request.watched_file,
            }
            self._audit(conn, now_ms, Event("STARTED", "info", data))
            faults.hit("paper.begin.before_commit")
        return replace(state, revision=row.revision)

    def _given_state(self, as_of_ms: int) -> InitState | None:
        path = self._request.init_state
        if path is None:
            return None
        names = tradable(self._open_feed.history(as_of_ms).symbols, self._open_feed.traded)
        return read_init_state(path, names, self._tell, strict=True)

    def _warm(self, as_of_ms: int, given: InitState | None = None) -> PaperState:
        return warmed_up(self._request, self._open_settings, self._open_feed, as_of_ms, given)

    def _reload(
        self, conn: sqlite3.Connection, state: PaperState, memory: Memory, now_ms: int
    ) -> PaperState:
        """Go on with the strategy file's new content from the next boundary on, if it can be used."""
        current = self._open_settings
        found = self._watch.changed(current)
        if found is not None:
            self._loaded = found
            try:
                state = self._adopt(conn, state, memory, now_ms)
                self._watch.accept()
                self._settled = found
            except ConfigError as error:
                self._loaded = current
                self._watch.refuse(str(error), found.digest)
            except DataError as error:
                # The candles are at fault: the file is tried again at the next look.
                self._loaded = current
                self._watch.fault = str(error)
            except MeiError:
                # Somebody has written meanwhile: the next look begins with that.
                self._loaded = current
                raise
        fault = self._watch.fault
        if fault and fault != self._told_fault:
            data = {"fault": fault, "config_id": current.config_id}
            self._remember(conn, memory, now_ms, Event("CONFIG_REFUSED", "error", data))
        self._told_fault = fault
        return state

    def _adopt(
        self, conn: sqlite3.Connection, state: PaperState, memory: Memory, now_ms: int
    ) -> PaperState:
        """The state with the settings in use; indicators are made anew when their windows are others."""
        loaded = self._open_settings
        fresh = self._warm(state.as_of_ms)
        windows = {name: kept["windows"] for name, kept in fresh.symbols.items()}
        is_other = any(
            kept["windows"] != windows.get(name, kept["windows"])
            for name, kept in state.symbols.items()
        )
        before = state.config_id
        if is_other:
            state = transplanted(fresh.continuation, state, keeps_sub_bars=True)
        state = replace(state, config_id=loaded.config_id)
        data = {
            "from": before,
            "to": loaded.config_id,
            "as_of_ms": state.as_of_ms,
            "rebased": is_other,
        }
        return self._write(conn, state, memory, now_ms, Event("CONFIG_RELOADED", "info", data))

    def _changed_while_down(
        self, conn: sqlite3.Connection, state: PaperState, memory: Memory, now_ms: int
    ) -> PaperState:
        """Other settings than those of the state: after a downtime they trade nothing of the time before they came."""
        feed, grace_ms = self._open_feed, self._request.grace_ms
        if now_ms - state.as_of_ms <= feed.main_ms + grace_ms:
            return self._adopt(conn, state, memory, now_ms)
        feed.refuse_unfinished(now_ms, grace_ms)
        as_of_ms = feed.settled_ms(state.as_of_ms, now_ms, grace_ms, state.held())
        data = {
            "from": state.config_id,
            "to": self._open_settings.config_id,
            "from_ms": state.as_of_ms,
            "as_of_ms": as_of_ms,
            "rebased": True,
        }
        state = replace(self._at_present(state, as_of_ms), config_id=self._open_settings.config_id)
        return self._write(conn, state, memory, now_ms, Event("CONFIG_RELOADED", "warning", data))

    def _at_present(self, state: PaperState, as_of_ms: int) -> PaperState:
        """The book of a state over indicators made anew up to a boundary; nothing happens in between."""
        fresh = self._warm(as_of_ms)
        return transplanted(fresh.continuation, moved_on(state, as_of_ms), keeps_sub_bars=False)

    def _other_series(
        self, conn: sqlite3.Connection, state: PaperState, memory: Memory, now_ms: int
    ) -> tuple[PaperState, Memory]:
        """Bars of other intervals need a flat book and indicators of their own."""
        loaded = self._open_settings
        if not memory.series or memory.series == loaded.series:
            return state, replace(memory, series=loaded.series)
        if not state.is_flat:
            names = ", ".join(sorted({**state.held(), **state.ordered()}))
            raise ConfigError(
                f"{self._request.config}: the intervals of bars must stay {_labels(memory.series)} while something is "
                f"held, are {_labels(loaded.series)} ({names}): close it (tools/flat_now.py --paper) or restore them"
            )
        data = {"from": list(memory.series), "to": list(loaded.series)}
        memory = replace(memory, series=loaded.series)
        feed, grace_ms = self._open_feed, self._request.grace_ms
        feed.refuse_unfinished(now_ms, grace_ms)
        as_of_ms = max(state.as_of_ms, feed.settled_ms(None, now_ms, grace_ms, {}))
        state = replace(self._at_present(state, as_of_ms), config_id=loaded.config_id)
        event = Event("INTERVALS_CHANGED", "info", data)
        return self._write(conn, state, memory, now_ms, event), memory

    def _after_halt(
        self, conn: sqlite3.Connection, state: PaperState, memory: Memory, now_ms: int
    ) -> tuple[PaperState, Memory]:
        """Go on at the present: nothing is traded in the time of the halt, what is held is met from now on."""
        memory = replace(memory, is_halted=False)
        # Bars that come later would be of the time of the halt, too.
        self._open_feed.refuse_old(now_ms, self._request.grace_ms)
        as_of_ms = self._open_feed.settled_ms(
            state.as_of_ms, now_ms, self._request.grace_ms, state.held()
        )
        data = {"from_ms": state.as_of_ms, "to_ms": as_of_ms}
        event = Event("RESUMED_AFTER_HALT", "warning", data)
        if as_of_ms > state.as_of_ms:
            state = self._at_present(state, as_of_ms)
        return self._write(conn, state, memory, now_ms, event), memory

    def _note_pause_file(self, conn: sqlite3.Connection, now_ms: int) -> None:
        """Which one is watched: who writes it can tell whether it is the same (flat_now)."""
        memory, path = memory_of(read_trader_state(conn)), self._request.watched_file
        noted = replace(memory, pause_file=path, pause_folder=self._request.watched_folder)
        events = []
        if memory.pause_file != path:
            # One that was never noted, as before there were notes, need not be another one.
            name = "PAUSE_FILE_NOTED" if memory.pause_file is None else "PAUSE_FILE_CHANGED"
            events = [Event(name, "info", {"from": memory.pause_file, "to": path})]
        if noted != memory:
            self._remember(conn, noted, now_ms, *events)

    def _told_mode(
        self,
        conn: sqlite3.Connection,
        memory: Memory,
        mode: str,
        why: str,
        fault: str | None,
        now_ms: int,
    ) -> Memory:
        """The memory with the mode, told when it is another one."""
        is_halted = memory.is_halted or mode == HALT_ALL
        if memory.mode == mode and memory.is_halted == is_halted:
            return memory
        data = {"from": memory.mode, "to": mode, "why": why, "fault": fault}
        memory = replace(memory, mode=mode, is_halted=is_halted)
        self._remember(conn, memory, now_ms, Event("MODE_CHANGED", "warning", data))
        return memory

    # ------------------------------------------------------------------ the database

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """The trading database, kept open: to close it merges its log, which costs more than a step."""
        path = self._request.db
        if self._conn is None or not Path(path).is_file():
            self.close()
            conn = self._kept.enter_context(open_trading_db(path, create=True))
            self._kept.enter_context(_alone(path))
            self._conn = conn
        with telling(path):
            yield self._conn

    def _read(self, conn: sqlite3.Connection) -> PaperState | None:
        row = read_engine_state(conn)
        if row is not None:
            return state_of(row, self._request.db)
        if last_balance_usd(conn) is not None or position_rows(conn):
            raise DataError(
                f"{self._request.db}: a trading database must be new or this trader's, it has trades and no "
                "engine_state: export its state (tools/export_state.py) and start on another file with it"
            )
        return None

    def _must_read(self, conn: sqlite3.Connection) -> PaperState:
        # Read anew whenever it was written, by whomever; not at every look for bars.
        if self._seen is not None and self._seen.revision == engine_revision(conn):
            return self._seen
        state = self._seen = self._read(conn)
        if state is None:
            raise DataError(
                f"{self._request.db}: the state of the trader must stay in it, is gone: restart the trader"
            )
        return state

    def _write(
        self,
        conn: sqlite3.Connection,
        state: PaperState,
        memory: Memory,
        now_ms: int,
        event: Event,
    ) -> PaperState:
        row = row_of(state, stamp_text(now_ms))
        with writing(conn):
            write_engine_state(conn, row)
            write_trader_state(conn, memory.plain())
            self._audit(conn, now_ms, event)
            faults.hit("paper.state.before_commit")
        return replace(state, revision=row.revision)

    def _remember(
        self, conn: sqlite3.Connection, memory: Memory, now_ms: int, *events: Event
    ) -> None:
        with writing(conn):
            write_trader_state(conn, memory.plain())
            for event in events:
                self._audit(conn, now_ms, event)

    def _audit(self, conn: sqlite3.Connection, now_ms: int, event: Event) -> None:
        insert_audit(
            conn,
            timestamp=stamp_text(now_ms),
            symbol=None,
            event=event.event,
            level=event.level,
            data=event.data,
        )
        self._tell(f"[paper] {event.event}: {dict(event.data)}")

    @property
    def _open_settings(self) -> Loaded:
        assert self._loaded is not None, "open() comes first"
        return self._loaded

    @property
    def _open_feed(self) -> Feed:
        assert self._feed is not None, "open() comes first"
        return self._feed


@contextmanager
def _alone(path: str) -> Iterator[None]:
    """Be the only trader of a trading database; the system lets go of it when the process ends, however it does.

    ConflictError when another one has it.
    """
    lock = f"{path}.lock"
    with open(lock, "ab") as file:  # noqa: PTH123 — kept open as long as it is locked
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConflictError(
                f"{path}: a trading database must have one trader, another one holds {lock}: stop it, or name another "
                "file"
            ) from None
        yield


def _labels(series: tuple[str, ...]) -> str:
    return "/".join(label or "none" for label in series)
