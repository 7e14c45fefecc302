"""Streams by name, for configurations: the project's own, Avalanche's classic ones, and the user's."""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_type_hints

from dreamer.config.allowed import refusal
from dreamer.config.streams import STREAMS
from dreamer.core.suggest import one_of
from dreamer.streams.arithmetic import arithmetic
from dreamer.streams.base import Stream
from dreamer.streams.blurred import blurred
from dreamer.streams.classic import CLASSIC, function_of
from dreamer.streams.diabetes import diabetes
from dreamer.streams.digits import digits
from dreamer.streams.embedded import embedded
from dreamer.streams.folder import folder
from dreamer.streams.hugging_face import hugging_face
from dreamer.streams.online import online
from dreamer.streams.patch_features import patch_features
from dreamer.streams.repeated import repeated
from dreamer.streams.table import table
from dreamer.streams.text import text

_OWN: dict[str, Callable[..., Stream]] = {
    "arithmetic": arithmetic,
    "diabetes": diabetes,
    "digits": digits,
    "folder": folder,
    "hugging_face": hugging_face,
    "table": table,
    "text": text,
}
_CHANGES: dict[str, Callable[..., Stream]] = {
    "blurred": blurred,
    "embedded": embedded,
    "online": online,
    "patch_features": patch_features,
    "repeated": repeated,
}


def available() -> dict[str, str]:
    """What every stream is, in one line, by name."""
    return dict(STREAMS)


def resolve(name: str) -> Callable[..., Stream]:
    """The function that builds a stream; a dotted path such as ``my.package.stream`` serves for the user's own."""
    if name in _OWN:
        return _OWN[name]
    if name in CLASSIC:
        return function_of(name)
    return _dotted(name, "stream", STREAMS)


def resolve_change(name: str) -> Callable[..., Stream]:
    """The function that turns a stream, its first argument, into another; a dotted path serves for the user's own."""
    return _CHANGES[name] if name in _CHANGES else _dotted(name, "change of a stream", _CHANGES)


def _dotted(name: str, what: str, known: Iterable[str]) -> Callable[..., Stream]:
    module, _, attribute = name.rpartition(".")
    if not module:
        raise ValueError(f"there is no {what} {name!r}; {one_of(name, known)}")
    refused = refusal(name)
    if refused is not None:
        raise ValueError(refused)
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"there is no {what} {name!r}: {error}") from error
    _check_gives_stream(name, found)
    return found


def _check_gives_stream(name: str, found: object) -> None:
    """Raise a ValueError for what is no function, or says that it returns something else; it is not called."""
    function = inspect.unwrap(found.func if isinstance(found, functools.partial) else found)  # type: ignore[arg-type]
    if not (inspect.isfunction(function) or inspect.isclass(function)):
        raise ValueError(f"expected a function that returns a Stream at {name!r}, got {type(found).__name__}")
    refused = refusal(f"{function.__module__}.{function.__qualname__}")
    if refused is not None:
        raise ValueError(refused)
    try:
        returned = function if inspect.isclass(function) else get_type_hints(function).get("return", Stream)
    except (NameError, TypeError):  # imported for type checkers only
        return
    if returned is not Any and not (inspect.isclass(returned) and issubclass(returned, Stream)):
        raise ValueError(f"expected a function that returns a Stream at {name!r}, got one that returns {returned}")


def signature(name: str) -> inspect.Signature:
    """The options that a stream takes, with their types and defaults."""
    return inspect.signature(resolve(name))


def build(name: str, *, root: str | Path | None = None, seed: int = 0, **options: Any) -> Stream:
    """Build a stream by name.

    Raises:
        DataNotFound: when a data set is absent and cannot be downloaded.
        ValueError: when there is no such stream or option, or an option is impossible.
    """
    function = resolve(name)
    known = inspect.signature(function).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        for key in options:
            if key not in known:
                raise ValueError(f"stream {name!r} has no option {key!r}; {one_of(key, known)}")
    given = {key: value for key, value in (("root", root), ("seed", seed)) if key in known}
    return function(**{**given, **options})
