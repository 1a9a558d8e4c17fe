"""Detectors over images: COCO metrics, predictions and pictures."""
