"""What the cells of studies live: one experiment, one file."""
