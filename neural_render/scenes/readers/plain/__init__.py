"""Plain meshes: OBJ with its materials, PLY, STL."""
