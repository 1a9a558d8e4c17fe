"""What a data set is like: counts and distributions, as numbers and as a picture."""
