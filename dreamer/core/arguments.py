"""Arguments that are held to their annotations: one of another kind is refused in one sentence that names it."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import math
import types
import typing
from collections.abc import Callable, Collection, Iterable
from numbers import Real
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

WORDS: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    type(None): "null",
}
"""Plain types in words."""
_Checked = TypeVar("_Checked", bound=Callable[..., Any])
_READ_ONCE = (collections.abc.Iterable, collections.abc.Collection)
_LISTS = (list, tuple, collections.abc.Sequence, *_READ_ONCE)
_STRICT = ("builtins", "pathlib", "dreamer.", "torch.nn.modules")
"""Where classes lie of which an argument has to be one."""


def checked(function: _Checked) -> _Checked:
    """A constructor, function or dataclass that refuses arguments of another kind than their annotations say.

    Numbers have to be finite, and truth values are none. What an annotation leaves open is let pass.

    Raises:
        ValueError: when it is called with such an argument.

    >>> @checked
    ... def wait(seconds: float) -> None: ...
    >>> wait("long")
    Traceback (most recent call last):
    ValueError: expected seconds to be a number, got 'long'
    """
    if isinstance(function, type):  # a dataclass, whose constructor is not written down
        function.__init__ = checked(function.__init__)  # type: ignore[misc]
        return function
    return _held(function, ())


def checked_but(*names: str) -> Callable[[_Checked], _Checked]:
    """As :func:`checked`, without arguments of which the function itself says more."""
    return functools.partial(_held, aside=names)


def _held(function: _Checked, aside: Collection[str]) -> _Checked:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def held(*args: Any, **kwargs: Any) -> Any:
        try:
            given = signature.bind(*args, **kwargs).arguments
        except TypeError:
            return function(*args, **kwargs)  # says which one is missing, or unknown
        hints = _hints(function)
        for name, value in given.items():
            if name in hints and name not in aside and not _fits(value, hints[name]):
                wanted = _spell(hints[name])
                if isinstance(value, float) and not math.isfinite(value):
                    wanted = wanted.replace("a number", "a finite number")
                raise ValueError(f"expected {name} to be {wanted}, got {_shown(value)}")
        return function(*args, **kwargs)

    return typing.cast(_Checked, held)


@functools.cache
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations that can be evaluated; others are those of type checkers alone."""
    names = {**vars(typing), **getattr(function, "__globals__", {})}
    found = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if isinstance(parameter.annotation, str):
            try:
                found[name] = eval(parameter.annotation, names)
            except NameError:
                continue
        elif parameter.annotation is not parameter.empty:
            found[name] = parameter.annotation
    return found


def _fits(value: Any, hint: Any) -> bool:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(_fits(value, choice) for choice in inner)
    if origin is Literal:
        return any(value is choice or (type(value) is type(choice) and value == choice) for choice in inner)
    if hint in (int, float):
        return _is_number(value, hint)
    if (origin or hint) in _LISTS:
        return _is_list(value, inner, (origin or hint) in _READ_ONCE)
    if origin is collections.abc.Callable or hint is Callable:
        return callable(value)
    if hint is None or hint is type(None):
        return value is None
    return _is_instance(value, origin or hint)


def _is_number(value: Any, kind: type) -> bool:
    if isinstance(value, bool | str | bytes):
        return False
    if kind is int:
        return hasattr(value, "__index__")  # also numpy's numbers
    # a tensor of one number serves; one of many has no such truth value
    single = isinstance(value, Real) or (hasattr(value, "__float__") and getattr(value, "ndim", 0) == 0)
    return single and math.isfinite(value)


def _is_list(value: Any, inner: tuple[Any, ...], read_once: bool) -> bool:
    if isinstance(value, str | bytes) or not isinstance(value, collections.abc.Iterable):
        return False
    if not isinstance(value, list | tuple):
        # an array serves where a list does; what is read only once cannot be looked into
        return read_once or (hasattr(value, "__len__") and hasattr(value, "__getitem__"))
    kind = inner[0] if inner else Any
    return all(_fits(item, kind) for item in value)


def _is_instance(value: Any, kind: Any) -> bool:
    # of a class of somebody else's, things that are like it may serve as well
    if not isinstance(kind, type) or not kind.__module__.startswith(_STRICT):
        return True
    if kind is Path:
        return isinstance(value, Path | str)
    if isinstance(value, type):  # the class of a part has all that a part has
        return False
    try:
        return isinstance(value, kind)
    except TypeError:  # a protocol that cannot be asked
        return True


def _spell(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return either(_spell(choice) if choice is not type(None) else "None" for choice in inner)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, inner))
    if (origin or hint) in _LISTS:
        return "a list" + (f" (each {_spell(inner[0])})" if inner else "")
    if hint is bool:
        return "True or False"
    name = getattr(origin or hint, "__name__", str(hint))
    return WORDS.get(hint, "a function" if name == "Callable" else _with_article(name))


def either(kinds: Iterable[str]) -> str:
    """Kinds in words, joined; Python may give those of an annotation in the order of an earlier one that is equal.

    >>> either(["null", "a whole number", "a number"])
    'a number or null'
    """
    said = dict.fromkeys(kinds)
    if WORDS[float] in said:
        said.pop(WORDS[int], None)
    return " or ".join(sorted(said, key=lambda kind: kind.lower() in ("null", "none")))


def _with_article(name: str) -> str:
    """``a Memory``, ``an Objective``, ``an NREM``, whose letters are spelt."""
    vowel = name[0] in ("AEFHILMNORSX" if name.isupper() else "AEIOUaeiou")
    return f"{'an' if vowel else 'a'} {name}"


def _shown(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else _with_article(type(value).__name__)
