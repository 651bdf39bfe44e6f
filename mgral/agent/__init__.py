"""The sampling agent (MGRAL, section III-C): an LSTM that scores the pool, trained by policy gradient."""
