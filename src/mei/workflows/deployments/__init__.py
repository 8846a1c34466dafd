"""Strategy files on their way: from the registry to the paper trader, from there to live, and back."""
