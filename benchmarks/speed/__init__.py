"""How fast things are, beside references that do the same work; the measurements behind docs/performance.md."""
