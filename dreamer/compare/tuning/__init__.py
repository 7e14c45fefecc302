"""`dreamer tune`: hyper-parameters chosen on held-out data."""
