"""Whether candles and funding rates are fit to trade on, and what keeps candle databases small."""
