"""Sweeps: plan (what is run, in which order) -> chunks (rows, journalled) -> merge (one sorted file)."""
