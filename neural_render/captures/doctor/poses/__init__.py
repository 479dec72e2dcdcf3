"""Whether cameras agree with what their photos show, and which known fault explains it if not."""
