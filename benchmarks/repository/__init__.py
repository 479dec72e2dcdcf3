"""Measurements of the repository itself: its tests."""
