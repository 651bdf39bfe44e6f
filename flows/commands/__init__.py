"""One file a command: `add` declares it and its arguments."""
