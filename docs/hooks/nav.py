"""Stars in the navigation.

An entry of ``nav`` with a star stands for all pages that it matches and that no other entry names, in the order of
their names and an index first; ``folder/**`` stands for whatever lies below a folder, a section for every folder in it.
Where several stars match, the longest entry has the page. So a new part, or a new page, appears by itself.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Replace entries with a star by the pages for which they stand."""
    entries = {*leaves(config.nav)}
    stars = sorted((entry for entry in entries if "*" in entry), key=len, reverse=True)
    pages: dict[str, list[str]] = {star: [] for star in stars}
    shown = (file.src_uri for file in files.documentation_pages() if file.inclusion.is_in_nav())
    for uri in sorted(shown, key=lambda uri: (posixpath.dirname(uri), not uri.endswith("index.md"), uri)):
        star = next((star for star in stars if stands_for(star, uri)), None)
        if star is not None and uri not in entries:
            pages[star].append(uri)
    config.nav = expanded(config.nav, {star: sections(star, found) for star, found in pages.items()})
    return files


def leaves(entry: Any) -> Iterator[str]:
    """All pages and stars below an entry."""
    if isinstance(entry, str):
        yield entry
    else:
        for child in entry.values() if isinstance(entry, dict) else entry:
            yield from leaves(child)


def stands_for(star: str, uri: str) -> bool:
    """Whether a page matches; a single star does not reach into folders."""
    return fnmatchcase(uri, star) and (star.endswith("/**") or star.count("/") == uri.count("/"))


def sections(star: str, uris: Sequence[str]) -> list[Any]:
    """The pages of a star; those of ``folder/**`` by the folders in which they lie."""
    if not star.endswith("/**"):
        return [*uris]
    found: dict[str, list[str]] = {}
    for uri in uris:
        title = posixpath.dirname(uri).removeprefix(star[:-2]).replace("/", ": ").capitalize()
        found.setdefault(title, []).append(uri)
    return [{title: pages} for title, pages in found.items()]


def expanded(entry: Any, pages: Mapping[str, list[Any]]) -> Any:
    """The same entry without stars."""
    if isinstance(entry, dict):
        return {title: expanded(child, pages) for title, child in entry.items()}
    if isinstance(entry, list):
        found = (pages.get(child, [child]) if isinstance(child, str) else [expanded(child, pages)] for child in entry)
        return [child for children in found for child in children]
    return entry
