"""The suites that treat programs as nobody should."""
