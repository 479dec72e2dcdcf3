"""Splats fitted to fields: where they begin, what they are fitted to, how they move."""
