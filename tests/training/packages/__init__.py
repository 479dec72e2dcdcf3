"""Packages: what they hold, what they cost, and what a broken one says."""
