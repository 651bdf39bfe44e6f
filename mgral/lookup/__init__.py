"""The lookup table (MGRAL, section III-F): which batches are measured, how one is described and valued."""
