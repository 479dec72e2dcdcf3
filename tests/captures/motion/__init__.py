"""Tests of photo captures: formats, images, placement, random rays, broken input."""
