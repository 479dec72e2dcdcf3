"""COLMAP's reconstructions, text and binary, read without COLMAP."""
