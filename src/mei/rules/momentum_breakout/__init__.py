"""Breakout of a price channel or of a z-score band, optionally only in some regimes."""
