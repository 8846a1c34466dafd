"""Funding history of many symbols from Hyperliquid: the job of tools/fetch_funding_rates.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from mei.data.funding_writer import FundingWriter, open_funding_writer
from mei.data.stamps import time_text
from mei.model.bars import DAY_MS
from mei.model.errors import ConfigError, DataError, ServiceUnavailableError
from mei.workflows.download.hyperliquid_info import HyperliquidInfo
from mei.workflows.download.patience import Patience

#: Between two requests, s.
PAUSE_S = 0.2
_SYMBOLS_NAME = "AI_QUANT_SIDECAR_SYMBOLS"


def fetch_funding_history(
    symbols: Sequence[str],
    path: Path,
    *,
    days: float,
    info: HyperliquidInfo,
    patience: Patience,
    now_ms: int,
    tell: Callable[[str], None],
    warn: Callable[[str], None],
) -> list[str]:
    """Bring what is new of every symbol, page after page, since its newest rate or else since `days` ago.

    A symbol that fails is a warning, and the next one follows; those that failed are the answer. What was written of it
    stays. Raises OutputError, DataError and ConfigError for the database.
    """
    failed = []
    with open_funding_writer(path) as writer:
        for symbol in symbols:
            writer.claim(symbol, "hyperliquid", "as told")
            newest_ms = writer.newest_ms(symbol)
            from_ms = now_ms - round(days * DAY_MS) if newest_ms is None else newest_ms + 1
            try:
                n_new = _fetch(symbol, writer, from_ms, now_ms, info, patience)
            except (ServiceUnavailableError, DataError) as error:
                failed.append(symbol)
                warn(f"warning: {symbol}: {error}")
                continue
            newest_ms = writer.newest_ms(symbol)
            newest = "none" if newest_ms is None else time_text(newest_ms)
            tell(f"{symbol}: {n_new} new rates in {path}, the newest {newest}")
    return failed


def symbols_of_file(path: Path) -> list[str]:
    """The symbols that AI_QUANT_SIDECAR_SYMBOLS names in an environment file; none if it has no such line.

    Raises ConfigError when the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: must be a readable file of NAME=value lines: {error}") from None
    found = ""
    for line in lines:
        name, _, value = line.strip().removeprefix("export ").partition("=")
        if name.strip() == _SYMBOLS_NAME:
            found = value.strip().strip("\"'")
    return listed_symbols(found)


def listed_symbols(text: str) -> list[str]:
    """`btc, ETH` as BTC and ETH, each once, in the order given."""
    return list(dict.fromkeys(part.strip().upper() for part in text.split(",") if part.strip()))


def _fetch(
    symbol: str,
    writer: FundingWriter,
    from_ms: int,
    to_ms: int,
    info: HyperliquidInfo,
    patience: Patience,
) -> int:
    coin, n_new = _coin(symbol, info, patience), 0
    while from_ms <= to_ms:
        what = f"funding of {coin} at {time_text(from_ms)}"
        rates = patience.ask(what, partial(info.funding, coin, from_ms, to_ms))
        if not rates:
            break
        n_new += writer.add(symbol, rates)
        from_ms = rates[-1].time_ms + 1
        patience.sleep(PAUSE_S)
    return n_new


def _coin(symbol: str, info: HyperliquidInfo, patience: Patience) -> str:
    """How the exchange spells a symbol: names are kept in upper case, but kPEPE is not KPEPE to it."""
    if not symbol.startswith("K"):
        return symbol
    names = patience.ask("the universe", info.universe)
    return next((name for name in names if name.upper() == symbol), symbol)
