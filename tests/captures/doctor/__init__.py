"""The capture doctor, on a small textured scene whose cameras are known, and on broken ones."""
