"""Enemies of the program: inputs that are broken in every way that came to mind."""
