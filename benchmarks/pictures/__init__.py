"""Pictures of trained runs: how long whole frames take, and what comes through to a browser."""
