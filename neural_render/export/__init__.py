"""Files for other programs: pictures, EXR layers, videos, rendered camera paths."""
