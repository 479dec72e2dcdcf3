"""Pages about runs: several of them side by side, and one that ended before its time."""
