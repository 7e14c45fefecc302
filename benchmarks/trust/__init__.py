"""What becomes of a run that is killed, damaged, shared, or given nonsense; see docs/trust.md for the table."""
