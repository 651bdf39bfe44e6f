"""Semi-supervised training, and the experiment that tells what a batch of unlabelled images is worth."""
