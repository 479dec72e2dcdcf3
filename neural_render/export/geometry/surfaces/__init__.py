"""Surfaces of a field: found, cleaned, seen by cameras, given a texture."""
