"""The factory: from a sweep to the paper trader and back."""
