"""Tests of the glTF reader."""
