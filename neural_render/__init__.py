"""neural_render: neural radiance fields, trained and rendered anywhere."""

__version__ = "0.1.0"
