"""Gaussian splats as files (``ply``); what is in them is fitted by ``training.splats``."""
