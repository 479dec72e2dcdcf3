"""Where a capture lies: its scene's cube, or the view from one side, from cameras and points."""
