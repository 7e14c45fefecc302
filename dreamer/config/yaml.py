"""Configurations: YAML files and ``key=value`` words, merged left to right into plain values.

A node that carries another ``name`` than the one under it replaces it whole, so no key of the old part survives. Lists
replace lists; ``night.0.steps=50`` reaches into one. ``null`` takes a value back.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dreamer.config.binding import ConfigError, at, join
from dreamer.config.environment import marked, unresolved
from dreamer.core.files import write_text
from dreamer.core.suggest import one_of

TABLES = (".csv", ".tsv")
"""Endings of files that stand for themselves: the configuration ``table``, with this file."""
BASE = "base"
"""The key under which a YAML names the configuration that it is written over."""
ON_BACKBONE = "with_backbone"
"""The key under which a YAML holds what is laid over it where a ``backbone`` is given."""


def folder() -> Path:
    """Where the configurations lie: inside the installed package, or beside it in a checkout."""
    packed = Path(__file__).parents[1] / "configs"
    return packed if packed.is_dir() else packed.parent.parent / "configs"


def catalog() -> dict[str, Path]:
    """The configurations that can be called by name: streams, records (``records/NAME``), strategies last."""
    streams, records, strategies = (
        sorted((folder() / place).glob("*.yaml")) for place in (".", "records", "strategies")
    )
    named = {f"records/{path.stem}": path for path in records}
    return {path.stem: path for path in streams} | named | {path.stem: path for path in strategies}


def describe() -> dict[str, str]:
    """What each configuration is, by name: the second line of its opening comment; the first is the command."""
    described = {}
    for name, path in catalog().items():
        lines = path.read_text(encoding="utf-8").splitlines()
        described[name] = lines[1].lstrip("# ") if len(lines) > 1 else ""
    return described


def describe_studies() -> dict[str, str]:
    """The question of each study, by name: the second line of its opening comment; the first is the command."""
    found = sorted((folder() / "studies").glob("*.yaml"))
    return {path.stem: path.read_text(encoding="utf-8").splitlines()[1].lstrip("# ") for path in found}


def read(*items: str | Path | Mapping[str, Any], **overrides: Any) -> dict[str, Any]:
    """Merge configurations, left to right.

    Args:
        items: names of the :func:`catalog`, paths of YAML files, of tables (``my.csv``), ``key=value`` words, or
            mappings. Words come last, wherever they stand. None at all means the embedded digits.
        overrides: top-level keys that come after everything else.

    Returns:
        Plain values (dicts, lists, numbers, texts, None) with all interpolations resolved, and a ``name``.

    Raises:
        ConfigError: when a name or file is not there, or its contents cannot be read.
    """
    words = [item for item in items if isinstance(item, str) and "=" in item and not _is_file(item)]
    files = [item for item in items if not any(item is word for word in words)] or ["digits"]
    merged = _merged(files, words, overrides, backbone=False)
    if merged.get("backbone") is not None:
        merged = _merged(files, words, overrides, backbone=True)
    plain = _resolved(merged)
    if plain.get("name") is None:
        plain["name"] = "-".join(Path(item).stem for item in files if not isinstance(item, Mapping)) or "run"
    return plain


def _merged(
    files: Sequence[str | Path | Mapping[str, Any]], words: Sequence[str], overrides: Mapping[str, Any], backbone: bool
) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for layer in [*(_layer(item, backbone) for item in files), *map(_word, words), overrides]:
        merged = merge(merged, layer)
    return merged


def merge(under: Any, over: Any, path: str = "") -> Any:
    """Lay one configuration over another.

    Raises:
        ConfigError: when a position of a list is addressed that is not there.
    """
    if isinstance(over, str) and isinstance(under, Mapping) and "name" in under:
        over = {"name": over}
    if isinstance(over, Mapping) and isinstance(under, str):
        under = {"name": under}
    if isinstance(over, Mapping) and over and isinstance(under, list) and all(str(key).isdigit() for key in over):
        return _into_list(under, over, path)
    if not (isinstance(over, Mapping) and isinstance(under, Mapping)):
        return over
    if path and "name" in over and over["name"] != under.get("name", over["name"]):
        return dict(over)
    merged = dict(under)
    for key, value in over.items():
        merged[key] = merge(under[key], value, join(path, key)) if key in under else value
    return merged


def save(plain: Mapping[str, Any], path: Path) -> None:
    """Write a configuration as YAML, whole or not at all."""
    from omegaconf import OmegaConf

    write_text(path, OmegaConf.to_yaml(OmegaConf.create(unresolved(plain))))


def _into_list(under: list[Any], over: Mapping[str, Any], path: str) -> list[Any]:
    merged = list(under)
    for key, value in over.items():
        if int(key) >= len(merged):
            raise ConfigError(f"{join(path, key)}: the list has {len(merged)} items, numbered from 0")
        merged[int(key)] = merge(merged[int(key)], value, join(path, key))
    return merged


def _layer(item: str | Path | Mapping[str, Any], backbone: bool, above: tuple[Path, ...] = ()) -> Mapping[str, Any]:
    if isinstance(item, Mapping):
        return item
    path = _find(item)
    if path.suffix.lower() in TABLES:
        return merge(_layer("table", backbone), {"stream": {"file": str(path)}})
    if path.resolve() in above:
        raise ConfigError(f"{BASE}: {path} is based on itself: expected another configuration")
    loaded = load(path)
    extra = loaded.pop(ON_BACKBONE, None) or {}
    if not isinstance(extra, Mapping):
        raise ConfigError(f"{ON_BACKBONE}: expected keys with values in {path}, got {extra!r}")
    layer: Any = {}
    for node in (loaded, extra) if backbone else (loaded,):
        own = dict(node)
        bases = own.pop(BASE, None) or []
        for name in [bases] if isinstance(bases, str) else bases:
            layer = merge(layer, _layer(name, backbone, (*above, path.resolve())))
        layer = merge(layer, own)
    return layer


def _is_file(item: str) -> bool:
    try:
        return Path(item).is_file()
    except OSError:  # too long for a name
        return False


def _find(item: str | Path) -> Path:
    found = catalog().get(str(item))
    if found is not None:
        return found
    path = Path(item)
    if path.is_file():
        return path
    if path.suffix in (".yaml", ".yml", *TABLES):
        kind = "table" if path.suffix in TABLES else "YAML file"
        raise ConfigError(f"expected a {kind} at {str(item)!r}, found none")
    if path.is_dir():
        raise ConfigError(f"{str(item)!r} is a folder: expected 'folder data.root={item}', or 'text data.root={item}'")
    raise ConfigError(f"no configuration called {str(item)!r}; {one_of(str(item), catalog())}")


def load(path: Path) -> dict[str, Any]:
    """Read one YAML file, without what it is based on."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        loaded = OmegaConf.to_container(OmegaConf.load(path))
    except (OmegaConfBaseException, YAMLError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {_one_line(error)}") from error
    except RecursionError:
        raise ConfigError(f"cannot read {path}: it is nested too deeply, or holds itself") from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"expected keys with values in {path}, got a list")
    return {str(key): value for key, value in loaded.items()}


def _word(word: str) -> Mapping[str, Any]:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    key = word.partition("=")[0]
    if not all(key.split(".")):
        raise ConfigError(f"expected key=value, got {word!r}")
    try:
        return OmegaConf.to_container(OmegaConf.from_dotlist([word]))  # type: ignore[return-value]
    except (OmegaConfBaseException, YAMLError) as error:
        raise ConfigError(f"{key}: cannot read {word!r}: {_one_line(error)}") from error


def _resolved(merged: Mapping[str, Any]) -> dict[str, Any]:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        plain: Any = OmegaConf.create(unresolved(merged))
        resolved = OmegaConf.to_container(plain, resolve=True, throw_on_missing=True)
        _refuse_not_finite(resolved)
        return marked(resolved, OmegaConf.to_container(plain))
    except RecursionError:
        raise ConfigError("expected a configuration of a few levels, got one that is nested too deeply") from None
    except OmegaConfBaseException as error:
        raise ConfigError(at(error.full_key or "", _one_line(error))) from error


def _refuse_not_finite(value: Any, path: str = "") -> None:
    if isinstance(value, Mapping):
        for key, entry in value.items():
            _refuse_not_finite(entry, join(path, key))
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            _refuse_not_finite(entry, join(path, index))
    elif isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"{path}: expected a finite number, got {value}")


def _one_line(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).splitlines()[:1])
