"""Measurements of speed and size, beside the package: ``dreamer bench`` from a checkout."""
