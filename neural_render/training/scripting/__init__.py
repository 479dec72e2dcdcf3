"""What Python programs see of a trained scene: ``neural_render.load`` and what it gives."""
