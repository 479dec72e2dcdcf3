"""What stands on the page: the panel of each visitor, and what is drawn into the scene."""
