"""Rules compiled for a target."""
