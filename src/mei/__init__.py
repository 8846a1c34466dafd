"""Mei: a live-learning-loop mirror and backtester for systematic crypto trading."""

__version__ = "0.1.0"
