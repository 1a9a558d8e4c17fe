"""The training stream on Ray Data: blocks of samples in a fixed order, whoever makes them."""
