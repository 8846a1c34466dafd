"""Mei Alpha: a portfolio of trend entries with gates, dynamic sizing and layered exits.

Source of every rule: the Mei Alpha specification, parts 1 and 2; section letters in the code are its sections.
"""
