"""Tests of how photos come into memory: plans, caches, what is told meanwhile."""
