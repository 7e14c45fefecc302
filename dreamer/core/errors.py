"""Reasons for which a command ends with one sentence and no traceback."""


class ConfigError(ValueError):
    """A configuration that cannot run; the message names the key, the value and what is allowed."""
