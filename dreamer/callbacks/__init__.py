"""Lightning callbacks: sleep between epochs, run folder, checkpoint, progress, dream quality."""
