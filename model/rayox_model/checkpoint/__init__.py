"""Checkpoints: what they hold, how they are written and read, and weights of other origins."""
