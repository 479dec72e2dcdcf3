"""What the program is measured with: kernels, training, rendering, each beside an alternative."""
