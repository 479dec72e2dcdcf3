"""Colours on surfaces: charts, and what cameras see of their texels."""
