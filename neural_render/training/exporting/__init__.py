"""What is taken away from a trained run: each form that ``scripts/export.py`` can make."""
