"""Plain options are bound to the signature of what they configure, before anything is built.

A default stands once, in a signature, so a signature also says which keys there are and what they may hold: an unknown
key, a wrong type, a missing value or a value that a constructor refuses is one sentence with the full path of the key.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import pathlib
import sys
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Union, get_args, get_origin

from dreamer.config import registry
from dreamer.config.environment import FromEnvironment
from dreamer.core.arguments import WORDS, either
from dreamer.core.errors import ConfigError as ConfigError
from dreamer.core.suggest import nearest, one_of

# whatever counts more than this would take years, or more memory than there is
_COUNTS, _BYTES, _SEEDS = 10**10, 10**15, 2**63 - 1
_SEQUENCES = (list, tuple, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_MAPPINGS = (dict, collections.abc.Mapping)


class _Mismatch(Exception):
    """A value is not of one of several allowed kinds."""


@dataclass(frozen=True)
class ComponentSpec:
    """A checked description of an object that is not built yet.

    Attributes:
        path: where it stands in the configuration, such as ``night.0.objectives.1``.
        target: the class or function to call.
        options: its checked keyword arguments; nested parts are specs themselves.
    """

    path: str
    target: Callable[..., Any]
    options: dict[str, Any]

    def build(self, **given: Any) -> Any:
        """Build the nested parts, then this one.

        Args:
            given: arguments that the configuration may leave out; whoever has a parameter of that name gets them.

        Raises:
            ConfigError: when a constructor refuses a value.
        """
        options = {key: _built(value, given) for key, value in self.options.items()}
        passed = {key: value for key, value in given.items() if key in parameters(self.target)}
        try:
            return self.target(**{**passed, **options})
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(at(self.path, str(error))) from error


def at(path: str, message: str) -> str:
    """A message with the path of its key in front."""
    return f"{path}: {message}" if path else message


def join(path: str, key: object) -> str:
    """The path of a key below a path."""
    return f"{path}.{key}" if path else str(key)


def parameters(target: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The parameters that can be given by keyword, their annotations evaluated; what cannot be evaluated is Any."""
    found = {}
    for name, parameter in inspect.signature(target).parameters.items():
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            found[name] = parameter.replace(annotation=_evaluated(parameter.annotation, target))
    return found


def bind(
    target: Callable[..., Any],
    options: object,
    path: str = "",
    given: Collection[str] = (),
    refused: Collection[str] = (),
    title: str | None = None,
) -> ComponentSpec:
    """Check options against a signature.

    Args:
        target: a class or function with typed keyword parameters.
        options: what was configured: a mapping of plain values.
        given: parameters that will be passed to :meth:`ComponentSpec.build`; they may be missing.
        refused: parameters that may not be configured.
        title: what the target is called in messages.

    Raises:
        ConfigError: for an unknown key, a wrong type, or a missing value.
    """
    if not isinstance(options, Mapping):
        raise ConfigError(at(path, f"expected keys with values, got {options!r}"))
    title = title or getattr(target, "__name__", str(target))
    known = parameters(target)
    allowed = [key for key in known if key not in refused]
    checked = {}
    for key, value in options.items():
        if key not in known and _takes_any_key(target):
            checked[key] = value
            continue
        if key in refused:
            raise ConfigError(f"{join(path, key)}: cannot be configured, because the run sets it itself")
        if key not in allowed:
            raise ConfigError(f"{join(path, key)}: unknown key of {title}; {one_of(str(key), allowed)}")
        parameter = known[key]
        if value is None and not _allows_none(parameter.annotation):
            continue  # null takes a value back, so the default holds
        checked[key] = check(value, parameter.annotation, join(path, key), parameter.default, given)
    for key in allowed:
        if known[key].default is inspect.Parameter.empty and key not in checked and key not in given:
            raise ConfigError(f"{join(path, key)}: missing; {title} needs {spell(known[key].annotation)}")
    return ComponentSpec(path, target, checked)


def check(
    value: object, hint: Any, path: str, default: Any = inspect.Parameter.empty, given: Collection[str] = ()
) -> Any:
    """Check a plain value against a type hint and give it the hint's type.

    Args:
        value: what a YAML can hold: numbers, texts, true or false, null, lists, mappings.
        hint: an evaluated annotation.
        default: the parameter's default; its class serves for a part that is configured without a name.

    Raises:
        ConfigError: when the value does not fit.
    """
    try:
        return _fit(value, hint, path, default, given)
    except _Mismatch:
        raise ConfigError(f"{path}: expected {spell(hint)}, got {value!r}{_hint_at(value, hint)}") from None


def spell(hint: Any) -> str:
    """A type hint in words."""
    if hint in WORDS:
        return WORDS[hint]
    alternatives = _alternatives(hint)
    if len(alternatives) > 1:
        members = tuple(choice for choice in alternatives if _is_class(choice) and _family(choice))
        said = [_spell_parts(members)] if members else []
        said += [spell(choice) for choice in alternatives if not _is_class(choice)]
        return either(said or [choice.__name__ for choice in alternatives])
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in arguments)
    if (origin or hint) in _SEQUENCES:
        return "a list" + (f" (each {spell(arguments[0])})" if arguments else "")
    if (origin or hint) in _MAPPINGS:
        return "keys with values"
    if _is_class(hint) and _family(hint) is not None:
        return _spell_parts((hint,))
    return "a value" if hint in (Any, inspect.Parameter.empty) else getattr(hint, "__name__", str(hint))


def _spell_parts(classes: tuple[type, ...]) -> str:
    return f"one of the {_family(classes[0])} by name ({', '.join(sorted(_choices(classes)))})"


def _fit(value: Any, hint: Any, path: str, default: Any, given: Collection[str]) -> Any:
    if hint in (Any, inspect.Parameter.empty):
        return value
    alternatives = _alternatives(hint)
    objects = [choice for choice in alternatives if _is_class(choice)]
    rest = [choice for choice in alternatives if choice not in objects]
    # a class outside the families can be named by its dotted path only, which takes a mapping
    classes = tuple(choice for choice in objects if _family(choice) or isinstance(value, Mapping))
    # 1 is a count and 1.0 a fraction in "int | float", so the exact type is tried first
    for choice in sorted(rest, key=lambda choice: choice is not type(value)):
        try:
            return _fit_one(value, choice, path, given)
        except _Mismatch:
            continue
    if classes and isinstance(value, str | Mapping):
        return _part(value, classes, path, default, given)
    raise _Mismatch


def _fit_one(value: Any, hint: Any, path: str, given: Collection[str]) -> Any:
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in arguments):
            return value
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif hint is int and (type(value) is int or (isinstance(value, float) and value.is_integer())):
        return _count(int(value), path)
    elif hint in WORDS and (type(value) is hint or (hint is str and isinstance(value, FromEnvironment))):
        return value
    elif origin in (pathlib.Path, pathlib.PurePath) and isinstance(value, str):
        return pathlib.Path(value)
    elif origin in _SEQUENCES and isinstance(value, list | tuple):
        return _sequence(value, origin, arguments, path, given)
    elif origin in _MAPPINGS and isinstance(value, Mapping):
        inner = arguments[1] if len(arguments) == 2 else Any
        return {key: check(item, inner, join(path, key), given=given) for key, item in value.items()}
    raise _Mismatch


def _count(value: int, path: str) -> int:
    key = path.rpartition(".")[2]
    limit = _SEEDS if key.endswith("seed") else _BYTES if key.endswith("bytes") else _COUNTS
    if abs(value) > limit:
        raise ConfigError(f"{path}: expected a whole number of at most {limit:,}, got {value:,}")
    return value


def _sequence(value: Any, origin: Any, arguments: tuple[Any, ...], path: str, given: Collection[str]) -> Any:
    fixed = origin is tuple and arguments and arguments[-1] is not Ellipsis
    if fixed and len(arguments) != len(value):
        raise ConfigError(f"{path}: expected a list of {len(arguments)} values, got {len(value)}")
    hints = arguments if fixed else (arguments[:1] or (Any,)) * len(value)
    items = [
        check(item, hint, join(path, i), given=given) for i, (item, hint) in enumerate(zip(value, hints, strict=True))
    ]
    return items if origin is list else tuple(items)


def _part(
    value: str | Mapping[str, Any], classes: tuple[type, ...], path: str, default: Any, given: Collection[str]
) -> Any:
    options = {"name": value} if isinstance(value, str) else dict(value)
    choices = _choices(classes)
    if "name" in options:
        part = _named(options.pop("name"), classes, choices, path)
    elif len(classes) == 1 and _is_concrete(classes[0]):
        part = classes[0]
    elif type(default) in choices.values():
        part = type(default)
    else:
        raise ConfigError(f"{join(path, 'name')}: missing; {one_of('', choices)}")
    return bind(part, options, path, given)


def _named(name: object, classes: tuple[type, ...], choices: Mapping[str, type], path: str) -> type:
    where = join(path, "name")
    if not isinstance(name, str):
        raise ConfigError(f"{where}: expected a text, got {name!r}")
    if name in choices:
        return choices[name]
    if "." not in name:
        raise ConfigError(f"{where}: there is no {name!r} here; {one_of(name, choices)}")
    try:
        part = registry.dotted(name)
    except registry.UnknownPart as error:
        raise ConfigError(f"{where}: {error}") from None
    if not any(_serves(part, choice) for choice in classes):
        raise ConfigError(f"{where}: expected a {' or '.join(choice.__name__ for choice in classes)}, got {name!r}")
    return part


def _choices(classes: tuple[type, ...]) -> dict[str, type]:
    """The parts that fit one of the classes, by name."""
    found = {}
    for choice in classes:
        family = _family(choice)
        members = {} if family is None else {name: registry.resolve(family, name) for name in registry.names(family)}
        found.update({name: part for name, part in members.items() if _serves(part, choice)})
    return found


def _serves(part: type, wanted: type) -> bool:
    if not _is_protocol(wanted):
        return issubclass(part, wanted)
    # a protocol with data members cannot be checked against classes, but its methods can
    wrapped = ("__init__", "__subclasshook__")
    methods = {
        name
        for base in wanted.__mro__
        if _is_protocol(base)
        for name, value in vars(base).items()
        if inspect.isfunction(value) and name not in wrapped
    }
    return methods <= {name for base in part.__mro__ for name in vars(base)}


def _family(hint: type) -> str | None:
    """The family that a class stands for: the one it lies in, or the one whose singular is its name."""
    singular = (
        "network" if hint.__module__.startswith("torch.nn.") and hint.__name__ == "Module" else hint.__name__.lower()
    )
    alike = [family for family in registry.FAMILIES if singular in (family, family.removesuffix("s"))]
    return registry.family_of(hint) or next(iter(alike), None)


def _is_class(hint: Any) -> bool:
    plain = ("builtins", "pathlib", "collections.abc")
    return isinstance(hint, type) and get_origin(hint) is None and hint.__module__ not in plain


def _takes_any_key(target: Callable[..., Any]) -> bool:
    return any(parameter.kind is parameter.VAR_KEYWORD for parameter in inspect.signature(target).parameters.values())


def _is_protocol(hint: type) -> bool:
    return bool(getattr(hint, "_is_protocol", False))


def _is_concrete(hint: type) -> bool:
    return not _is_protocol(hint) and not inspect.isabstract(hint) and _family(hint) is not None


def _alternatives(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(choice for argument in get_args(hint) for choice in _alternatives(argument))
    return (hint,)


def _allows_none(hint: Any) -> bool:
    return hint in (Any, inspect.Parameter.empty) or type(None) in _alternatives(hint)


def _hint_at(value: object, hint: Any) -> str:
    words = [str(word) for choice in _alternatives(hint) if get_origin(choice) is Literal for word in get_args(choice)]
    near = nearest(str(value), words)
    return "" if near is None else f"; did you mean {near!r}?"


def _evaluated(annotation: Any, target: Callable[..., Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    while isinstance(target, functools.partial):
        target = target.func
    function: Any = inspect.unwrap(target)
    if isinstance(target, type):
        function = target.__init__  # type: ignore[misc]
    module = sys.modules.get(getattr(function, "__module__", "") or "")
    names = {**vars(typing), **getattr(module, "__dict__", {}), **getattr(function, "__globals__", {})}
    try:
        return eval(annotation, names)
    except NameError:  # imported for type checkers only
        return Any


def _built(value: Any, given: Mapping[str, Any]) -> Any:
    if isinstance(value, ComponentSpec):
        return value.build(**given)
    if isinstance(value, list | tuple):
        return type(value)(_built(item, given) for item in value)
    return value
