"""Bars: their commands, what is read of them, and their table."""
