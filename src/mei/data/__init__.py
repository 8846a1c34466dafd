"""Candle files in, arrays out: research candles, chunk files of the ingest, and the sample market."""
