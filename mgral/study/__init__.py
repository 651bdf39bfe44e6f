"""A study on disk: its folders, its versions of the labelled set, its fingerprints and its results."""
