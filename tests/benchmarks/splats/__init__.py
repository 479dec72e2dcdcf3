"""The suite of splats."""
