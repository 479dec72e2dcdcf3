"""Structure from motion: where photos without poses were taken, found with pycolmap."""
