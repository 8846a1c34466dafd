"""What a market is called in databases and folders of candles."""

from __future__ import annotations

from collections.abc import Sequence

from mei.model.errors import ConfigError
from mei.model.market_names import same_markets


def database_names(symbols: Sequence[str], *, base_names: bool) -> dict[str, str]:
    """Symbol as asked for -> its name in databases, in the order given.

    BTC/USDT stays BTC/USDT (BTC with `base_names`), and so does its perpetual BTC/USDT:USDT: one database holds one
    series of a market. ConfigError when two symbols would be the same market.
    """
    wanted = list(dict.fromkeys(symbol.strip() for symbol in symbols if symbol.strip()))
    if not wanted:
        raise ConfigError("--symbols must name a market such as BTC/USDT, names none")
    for symbol in wanted:
        if any(not part.strip() for part in symbol.split("/")) or set(symbol) & set("\\\0 "):
            raise ConfigError(
                f"--symbols must be written BASE/QUOTE, such as BTC/USDT, was {symbol!r}"
            )
    names = {symbol: symbol.partition(":")[0] for symbol in wanted}
    if base_names:
        names = {symbol: name.partition("/")[0] for symbol, name in names.items()}
    for same in same_markets(wanted):
        raise ConfigError(
            f"--symbols must name every market once, {' and '.join(same)} are one to a backtest: download them into "
            "folders of their own"
        )
    return names
