"""Benchmarks on a device that is not the processor."""
