"""What runs are trained on and measured by: photos and scenes."""
