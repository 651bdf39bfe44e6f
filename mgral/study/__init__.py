"""A study on disk: its folders, its stages, its versions of the labelled set and its results."""
