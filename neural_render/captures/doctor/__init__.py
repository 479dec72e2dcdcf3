"""The capture doctor: what is wrong with photos and cameras, said before time is spent on them."""
