"""What is known of the images of a pool: what a detector saw in them, statistics, neighbours, near-duplicates."""
