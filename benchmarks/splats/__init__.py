"""What exported splats look like, drawn by nothing that fitted them."""
