"""Tests of `mei-backtester validate` and of its tools."""
