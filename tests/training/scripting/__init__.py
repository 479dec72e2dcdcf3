"""Trained scenes in Python programs: what is at points of the world, and developed pictures."""
