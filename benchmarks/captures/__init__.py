"""What opening and drawing from captures costs."""
