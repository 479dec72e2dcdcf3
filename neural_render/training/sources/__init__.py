"""What runs are trained on: what suits photos and scenes, and what each is measured by."""
