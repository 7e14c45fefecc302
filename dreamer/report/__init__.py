"""What a run leaves on disk, ``results.json`` and pictures, and the tables, plots and pages that show runs."""
