"""What is learnt of the cameras along with the field: poses, lenses, exposure, appearance."""
