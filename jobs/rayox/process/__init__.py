"""What the program does to its own process before a verb runs."""
