"""Checks of the repository itself: floors, lengths, names, settings, documentation, set-up."""
