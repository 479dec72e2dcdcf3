"""Videos by PyAV, and what players are told of those that are seen through glasses."""
