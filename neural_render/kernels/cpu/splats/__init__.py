"""How the ops on Gaussian splats reach the native kernels."""
