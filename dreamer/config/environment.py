"""Values that come from environment variables are used, and never written out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MARK = "${oc.env:"


class FromEnvironment(str):
    """A text that was resolved from the environment.

    Attributes:
        source: how the configuration gives it, such as ``${oc.env:WANDB_API_KEY}``.
    """

    source: str

    def __new__(cls, value: str, source: str) -> FromEnvironment:
        """Keep the source beside the value."""
        made = super().__new__(cls, value)
        made.source = source
        return made


def marked(resolved: Any, raw: Any) -> Any:
    """A resolved configuration in which every text from the environment knows its source.

    Args:
        raw: the same configuration before its interpolations were resolved.
    """
    if isinstance(resolved, Mapping) and isinstance(raw, Mapping):
        return {key: marked(value, raw.get(key)) for key, value in resolved.items()}
    if isinstance(resolved, list) and isinstance(raw, list):
        return [marked(*pair) for pair in zip(resolved, raw, strict=True)]
    if isinstance(resolved, str) and isinstance(raw, str) and MARK in raw:
        return FromEnvironment(resolved, raw)
    return resolved


def unresolved(plain: Any) -> Any:
    """A configuration as it may be written out: every text from the environment as its source."""
    if isinstance(plain, FromEnvironment):
        return plain.source
    if isinstance(plain, Mapping):
        return {key: unresolved(value) for key, value in plain.items()}
    if isinstance(plain, list | tuple):
        return [unresolved(value) for value in plain]
    return plain
