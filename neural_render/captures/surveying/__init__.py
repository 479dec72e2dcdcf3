"""Points that a capture has not: found where its training photos agree."""
