"""Programs that take runs away: their files."""
