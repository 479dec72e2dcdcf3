"""Surfaces of a field: found, made closed, cleaned of what no camera has seen."""
