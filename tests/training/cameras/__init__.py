"""Tests of training that learns its cameras."""
