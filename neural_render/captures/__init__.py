"""Photos with cameras: one reader per format, one `Capture` record, one scene normalisation."""
