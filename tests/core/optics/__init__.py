"""Lenses, sub-frames, eyes and panoramas."""
