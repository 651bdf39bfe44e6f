"""Experiments: what one trains, its record, the store of records, and how many are run at once."""
