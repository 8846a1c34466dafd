"""Equity and trades to numbers, purely. What is undefined is None, with a reason."""
