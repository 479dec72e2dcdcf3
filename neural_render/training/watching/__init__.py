"""Training and trained runs as the live viewer sees them."""
