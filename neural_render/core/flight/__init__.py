"""Where a camera flies: orbits, spirals and keyframes."""
