"""One training from settings to its last checkpoint, on Ray Train."""
