"""A scene seen in parts and by its cost: what a box cuts out, how many samples rays take."""
