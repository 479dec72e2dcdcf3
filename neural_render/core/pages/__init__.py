"""Pages for a browser, each whole in one file: the frame, the style and the templates' rules."""
