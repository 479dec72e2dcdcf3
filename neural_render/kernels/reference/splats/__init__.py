"""The definition of the ops on Gaussian splats (see ``kernels.splats.ops``)."""
