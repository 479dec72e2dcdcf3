"""glTF 2.0, as text or binary: materials, meshes, lights and cameras under their nodes."""
