"""Every bar that was set for the program, its command, and what was seen last."""
