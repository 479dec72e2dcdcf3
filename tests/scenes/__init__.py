"""Tests of artist scenes: readers, lights, views and traced rays."""
