"""What is left of a life on disk: ``results.json``, pictures and the table of results."""
