"""In what order things happen: one cycle, a study of cycles, and the command line."""
