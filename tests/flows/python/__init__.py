"""Packages from the command line, and trained scenes in Python programs."""
