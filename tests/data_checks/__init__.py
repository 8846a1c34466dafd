"""Tests of what looks at candle, funding and trading databases, and of what divides candles by month."""
