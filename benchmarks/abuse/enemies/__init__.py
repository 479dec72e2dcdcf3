"""What befalls running programs, each kind in a module: `run` gives its cases."""
