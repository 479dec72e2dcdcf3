"""Baked scenes: written, baked, and measured beside the path tracer that they were baked from."""
