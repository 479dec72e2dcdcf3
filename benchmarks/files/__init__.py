"""Suites about what is taken away from a run."""
