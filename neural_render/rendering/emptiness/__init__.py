"""Which cells are known to be empty: seen through, or seen by nobody."""
