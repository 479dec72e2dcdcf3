"""Films of trained scenes, whatever they were made from."""
