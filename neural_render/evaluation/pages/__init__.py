"""What a run looks like in a browser: its report, and several runs side by side."""
