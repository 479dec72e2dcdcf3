"""Programs and files treated as nobody should treat them."""
