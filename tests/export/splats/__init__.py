"""Files of Gaussian splats, read by others."""
