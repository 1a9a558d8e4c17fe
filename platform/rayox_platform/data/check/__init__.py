"""Checking a COCO file and its images: every defect at once, each with what to do about it."""
