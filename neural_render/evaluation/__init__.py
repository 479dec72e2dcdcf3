"""How good the renders are: metrics, the protocol they were measured by, pictures, the report."""
