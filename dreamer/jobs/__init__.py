"""Many runs: worker processes or a Ray cluster, locks, progress, resuming. Knows nothing of what the runs are for."""
