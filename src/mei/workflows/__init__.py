"""Whole jobs, from files to files: replay, sweep, dump."""
