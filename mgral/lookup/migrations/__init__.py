"""The table's schema, one step a file in `versions`; run by `mgral.lookup.store.open_table`."""
