"""What scanning apps of phones export: photos with the poses that the phone tracked."""
