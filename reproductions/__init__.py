"""The scripts behind the published numbers, beside the package: run them from a checkout with ``python -m``."""
