"""Formats that Blender reads for us, in a process of its own: .blend, USD, FBX, Alembic."""
