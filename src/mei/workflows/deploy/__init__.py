"""Bringing a strategy file to a trader: checked first, all of it or nothing, told to the next run when cut short."""
