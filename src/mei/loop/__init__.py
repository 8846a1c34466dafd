"""The learning loop: clock, feed, execution, engine (order of events), driver (chunks), checkpoint."""
