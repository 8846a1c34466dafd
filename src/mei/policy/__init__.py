"""Presets with bounded parameters, and the policy that picks one for each bar."""
