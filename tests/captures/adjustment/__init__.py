"""Tests of what is learnt of cameras."""
