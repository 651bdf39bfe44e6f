"""Semi-supervised methods against each other."""
