"""A trained scene as one small file: quantised, checked, and all that looking at it needs.

What such a file holds, byte by byte, is written down in ``docs/package_format.md``.
"""
