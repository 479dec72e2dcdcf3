"""Shell scripts: what they make of their arguments and of a checkout."""
