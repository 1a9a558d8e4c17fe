"""MODEL of every verb, opened from wherever it is."""
