"""Docstrings for the API pages: Sphinx roles become links, a shape's star stays a star, and ``::`` is a colon."""

from __future__ import annotations

import re
from typing import Any

from griffe import AliasResolutionError, Extension, NameResolutionError, Object

ROLE = re.compile(r":(?:class|func|meth|attr|data|mod):`~?([\w.]+)`")
# (B, *S): a star that would begin emphasis
STAR = re.compile(r"(?<![*`\w])\*(?=[A-Z])")
BLOCK = re.compile(r"::$", flags=re.M)
CODE = re.compile(r"(``.*?``)", flags=re.S)


class Roles(Extension):
    """Rewrites every docstring of the package once all of it is read."""

    def on_package(self, *, pkg: Any, **kwargs: Any) -> None:
        """See :class:`griffe.Extension`."""
        self._rewrite(pkg)

    def _rewrite(self, thing: Object) -> None:
        if thing.docstring is not None:
            pieces = CODE.split(thing.docstring.value)
            thing.docstring.value = "".join(p if p.startswith("``") else _markdown(p, thing) for p in pieces)
        for member in thing.members.values():
            if not member.is_alias:
                self._rewrite(member)


def _markdown(text: str, thing: Object) -> str:
    text = ROLE.sub(lambda found: _link(found[1], thing), text)
    return BLOCK.sub(":", STAR.sub(r"\\*", text))


def _link(name: str, thing: Object) -> str:
    """A reference to what a name means where it is used, or the bare name of what has no page."""
    shown = f"`{name.rpartition('.')[2]}`"
    try:
        path = name if name.startswith("dreamer.") else thing.resolve(name)
        target = thing.modules_collection[path]
        target = target.final_target if target.is_alias else target
    except (KeyError, NameResolutionError, AliasResolutionError):
        return shown
    # an attribute that its class describes has no place of its own
    while not target.has_docstring and target.parent is not None:
        target = target.parent
    public = not any(word.startswith("_") for word in target.path.split("."))
    return f"[{shown}][{target.path}]" if public else shown
