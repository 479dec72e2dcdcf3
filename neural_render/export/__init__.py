"""Files for other programs: pictures and films, meshes, points, volumes, cameras."""
