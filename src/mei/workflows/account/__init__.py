"""An account on an exchange: what it holds, how all of it is closed, and its state for a replay.

The exchange's library is imported when an account is opened, not before.
"""
