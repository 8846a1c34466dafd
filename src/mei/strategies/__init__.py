"""The Strategy interface and the adapters of rules to it."""
