"""Reasons for which a command ends with one sentence and no traceback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class ConfigError(ValueError):
    """A configuration that cannot run; the message names the key, the value and what is allowed."""


class Diverged(ArithmeticError):
    """Training came upon a loss or a weight that is no finite number.

    Attributes:
        where: what was not finite (``what``), and the ``experience``, ``stage`` (its index and ``kind``) and ``step``
            within it, in plain values.
    """

    def __init__(self, message: str, where: Mapping[str, Any]):
        super().__init__(message)
        self.where = dict(where)
