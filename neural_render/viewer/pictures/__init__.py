"""Which picture a visitor gets next, how coarse it is, and how it is made."""
