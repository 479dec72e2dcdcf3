"""Tests of the readers of scene formats."""
