"""What the cells of studies run: one experiment, one file."""
