"""The command line: the settings tree, Hydra, help and errors. Nothing below knows of Hydra."""

from neural_render.config.command import Command, main
from neural_render.config.composition import load_settings, yaml_of
from neural_render.config.processes import own_kernels
from neural_render.config.settings import (
    Settings,
    changed_settings,
    completed,
    differing_settings,
    sections_of_training,
    settings_below,
)

__all__ = [
    "Command",
    "Settings",
    "changed_settings",
    "completed",
    "differing_settings",
    "load_settings",
    "main",
    "own_kernels",
    "sections_of_training",
    "settings_below",
    "yaml_of",
]
