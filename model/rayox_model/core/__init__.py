"""What every other part speaks of: boxes, samples, batches, errors, the plan of the stream."""
