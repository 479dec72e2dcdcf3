"""Videos as captures: which of their frames become photos, and those photos' files."""
