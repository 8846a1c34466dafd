"""Regime models: features, forward-only filter, fit, label alignment, split, gate and files. Arrays in, arrays out."""
