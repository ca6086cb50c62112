"""Bounded faults on purpose, and whether the running agent notices them."""
