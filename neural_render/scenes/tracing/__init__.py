"""The path tracer in its own process, and the ring of rays that it fills."""
