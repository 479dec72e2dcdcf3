"""Artist scenes: readers, lights, views, and rays that a path tracer in its own process fills."""
