"""One reader per scene format; they run in the process of the path tracer."""
