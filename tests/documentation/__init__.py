"""The documentation as a whole: what it tells to type, and that it builds."""
