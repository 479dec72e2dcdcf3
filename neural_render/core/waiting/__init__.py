"""What is said while something takes long."""
