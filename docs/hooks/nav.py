"""Stars in the navigation.

An entry of ``nav`` with a star stands for all pages that it matches and that no other entry names, in the order of
their names and an index first. So a new part, or a new page, appears by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace entries with a star by the pages for which they stand."""
    named = {*leaves(config.nav)}
    free = [
        file.src_uri for file in files.documentation_pages() if file.src_uri not in named and file.inclusion.is_in_nav()
    ]
    free.sort(key=lambda uri: (not uri.endswith("index.md"), uri))
    config.nav = expanded(config.nav, free)
    return files


def leaves(entry: Any) -> Iterator[str]:
    """All pages and patterns below an entry."""
    if isinstance(entry, str):
        yield entry
    else:
        for child in entry.values() if isinstance(entry, dict) else entry:
            yield from leaves(child)


def expanded(entry: Any, free: list[str]) -> Any:
    """The same entry without stars."""
    if isinstance(entry, dict):
        return {title: expanded(child, free) for title, child in entry.items()}
    if isinstance(entry, list):
        found = [matching(child, free) if isinstance(child, str) else [expanded(child, free)] for child in entry]
        return [child for children in found for child in children]
    return entry


def matching(pattern: str, free: list[str]) -> list[str]:
    """The pages that a pattern stands for; a star does not reach into folders. A plain path stands for itself."""
    if "*" not in pattern:
        return [pattern]
    return [uri for uri in free if uri.count("/") == pattern.count("/") and fnmatchcase(uri, pattern)]
