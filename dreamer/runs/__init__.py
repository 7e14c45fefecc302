"""One run from a configuration: checked, planned, trained, evaluated, written to a run folder."""
