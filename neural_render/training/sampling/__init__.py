"""Which rays a step learns from."""
