"""The search for a batch: one contract of optimisers, and the run around them."""
