"""Steps of Adam on the GPU, and graphs that replay whole ones."""
