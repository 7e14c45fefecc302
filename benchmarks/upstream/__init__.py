"""Lightning's and Avalanche's own tests, with our callback or plugin in every Trainer or strategy."""
