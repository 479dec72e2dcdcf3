"""Photos from disk into memory: headers, sizes against intrinsics, memory, pixels."""
