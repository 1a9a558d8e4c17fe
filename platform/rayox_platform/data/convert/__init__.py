"""Annotations of other tools as COCO, and COCO as YOLO's text files."""
