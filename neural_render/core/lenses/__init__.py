"""How lenses map directions to the image plane and back."""
