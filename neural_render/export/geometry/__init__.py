"""What a field shows as geometry: meshes, points, volumes, in the capture's own coordinates."""
