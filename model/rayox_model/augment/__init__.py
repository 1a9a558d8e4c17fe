"""Augmentation of training samples in numpy and OpenCV; all randomness comes from a generator passed in."""
