"""Pictures of Gaussian splats: closed forms, gradients, and the kernels against the reference."""
