"""The table's schema, one step a file in `versions`; run by `mgral.experiments.store.open_table`."""
