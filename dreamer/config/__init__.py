"""Configurations: YAML files, the parts that they name, and the signatures that they are checked against."""

from dreamer.config.binding import ConfigError
from dreamer.config.yaml import BASE, catalog, describe, describe_studies, folder, load, merge, read, save

__all__ = ["BASE", "ConfigError", "catalog", "describe", "describe_studies", "folder", "load", "merge", "read", "save"]
