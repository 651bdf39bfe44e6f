"""The lookup table (MGRAL, section III-F): which experiments are run, how they are kept, what they say of a batch."""
