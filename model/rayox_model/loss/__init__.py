"""The loss: an assignment's targets, its terms and their weights."""
