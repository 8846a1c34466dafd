"""Candles and funding rates from exchanges: asked for, checked, written, and gone on with."""
