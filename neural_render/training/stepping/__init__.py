"""What a step is made of: gradients of the whole batch, Adam, and their replay on a GPU."""
