"""Studies: a question, arms that could answer it, chosen beforehand; their lives, and a verdict that is computed."""
