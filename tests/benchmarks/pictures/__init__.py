"""Tests of the benchmarks of pictures."""
