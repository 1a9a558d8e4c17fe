"""rayox trains, tunes and promotes YOLOX detectors on a Ray cluster: one module per verb."""
