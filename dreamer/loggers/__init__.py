"""Where a run is logged: the csv file, Weights & Biases, pictures."""
