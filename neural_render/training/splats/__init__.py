"""Gaussian splats fitted to what a trained scene's own renders show."""
