"""What watches a life: files, pictures, checkpoints and a live display, as Lightning callbacks."""
