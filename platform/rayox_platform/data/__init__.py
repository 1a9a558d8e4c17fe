"""Data sets: reading COCO files, loading images, and the embedded data set."""
