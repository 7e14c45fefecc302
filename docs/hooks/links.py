"""Links that leave ``docs/`` lead to pages of their own.

On a code host a link to ``../CONTRIBUTING.md`` or ``../examples/resume.py`` shows that file. Here, whatever a page
links to outside of ``docs/`` becomes a page as well: Markdown as it is, code as a listing, a folder as the list of what
it holds; anything else is copied. A module of the package has its API page already.
"""

from __future__ import annotations

import ast
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

DOCS = Path(__file__).parents[1]
CHECKOUT = DOCS.parent
CODE = {".py": "python", ".yaml": "yaml", ".toml": "toml", ".sh": "bash"}
FENCED = re.compile(r"(^```.*?^```\s*$)", flags=re.M | re.S)
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")

_uri_of: dict[Path, str] = {}
"""Where every file of the checkout that the site shows lies in it."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of files outside of ``docs/``, and of those that they link to."""
    _uri_of.clear()
    _uri_of.update({Path(file.abs_src_path): file.src_uri for file in files if file.abs_src_path})
    for module in (CHECKOUT / "dreamer").rglob("*.py"):
        uri = Path("api", module.relative_to(CHECKOUT / "dreamer")).with_suffix(".md").as_posix()
        if uri in files.src_uris:
            _uri_of[module] = uri
    waiting = [path for path in _uri_of if path.suffix == ".md"]
    while waiting:
        for path in targets(waiting.pop()):
            if path not in _uri_of:
                file = shown(path, config)
                files.append(file)
                _uri_of[path] = file.src_uri
                waiting.append(path)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the checkout into links between files of the site."""
    source = next((path for path, uri in _uri_of.items() if uri == page.file.src_uri), None)
    if source is None:
        return markdown
    folder = source if source.is_dir() else source.parent

    def moved(found: re.Match[str]) -> str:
        uri = _uri_of.get((folder / found[0]).resolve())
        return found[0] if uri is None else posixpath.relpath(uri, posixpath.dirname(page.file.src_uri) or ".")

    pieces = FENCED.split(markdown)
    return "".join(piece if piece.startswith("```") else LINK.sub(moved, piece) for piece in pieces)


def targets(path: Path) -> list[Path]:
    """The files and folders of the checkout that a page links to, or those that a folder lists."""
    if path.is_dir():
        return [child for child in sorted(path.iterdir()) if child.suffix in CODE]
    if path.suffix != ".md":
        return []
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    found = ((path.parent / link).resolve() for link in LINK.findall(text))
    return [target for target in found if target.exists()]


def shown(path: Path, config: MkDocsConfig) -> File:
    """The page of a file or folder, or a copy of what is no text."""
    name = path.relative_to(CHECKOUT).as_posix()
    if path.is_dir():
        rows = "".join(f"| [{child.name}]({child.name}) | {summary(child)} |\n" for child in targets(path))
        uri, text = f"{name}/index.md", f"# {path.name.capitalize()}\n\n| file | what it shows |\n|---|---|\n{rows}"
    elif path.suffix in CODE:
        code = path.read_text(encoding="utf-8")
        uri, text = f"{name}.md", f"# {name}\n\n````{CODE[path.suffix]}\n{code}````\n"
    elif path.suffix == ".md":
        # in lower case: README.md would be taken for the index of its folder
        uri, text = name.lower(), path.read_text(encoding="utf-8")
    else:
        return File.generated(config, name, abs_src_path=str(path))
    return File.generated(config, uri, content=text, inclusion=InclusionLevel.NOT_IN_NAV)


def summary(path: Path) -> str:
    """The first line of what a file says of itself."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    return text.partition("\n")[0].removeprefix("# ")
