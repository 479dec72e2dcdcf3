"""Readers of capture formats; `registry` knows them all."""
