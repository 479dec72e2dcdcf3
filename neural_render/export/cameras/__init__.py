"""A run's cameras for other programs: COLMAP models and nerfstudio's transforms.json."""
