"""Mei Alpha on paper: traded over candles as they appear, equal to a replay over the same candles."""
