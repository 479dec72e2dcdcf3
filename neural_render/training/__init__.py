"""The visible loop that fits a field to rays, and the run folder that it leaves behind."""
