"""The API pages: one for every public module of the package, made from its docstrings while the site is built.

A new file of the package has its page without being named anywhere.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

CHECKOUT = Path(__file__).parents[2]
PACKAGE = CHECKOUT / "dreamer"
FIRST = """# API

What most scripts need is imported from `dreamer` itself: {names}. A part is imported from its family, as in
`from dreamer.generators import VAE`, everything else from where it stands here.
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for every module, and one that lists them."""
    rooms = sorted({path.parent for path in PACKAGE.rglob("__init__.py")})
    files.append(File.generated(config, "api/index.md", content=first_page(rooms)))
    for room in rooms:
        if room != PACKAGE:
            files.append(File.generated(config, page_of(room), content=room_page(room)))
        for module in modules(room):
            files.append(File.generated(config, page_of(module), content=module_page(module)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead from the page of a part to that of its class."""
    source = Path(page.file.src_uri)
    if source.parts[0] != "parts" or len(source.parts) != 3:
        return markdown
    return f"{markdown}\n\nSignature and docstring: [{page.title}](../../api/{source.relative_to('parts')})\n"


def modules(room: Path) -> list[Path]:
    """The public files of a package."""
    return sorted(path for path in room.glob("*.py") if not path.stem.startswith("_"))


def page_of(path: Path) -> str:
    """Where the page of a module or package lies among those of the site."""
    inside = Path("api", path.relative_to(PACKAGE))
    return (inside.with_suffix(".md") if path.suffix else inside / "index.md").as_posix()


def dotted(path: Path) -> str:
    """The name under which a module or package is imported."""
    return ".".join(path.relative_to(CHECKOUT).with_suffix("").parts)


def first_page(rooms: Iterable[Path]) -> str:
    """What the package itself offers, and the modules of every room."""
    body = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")).body
    values = {ast.unparse(node.targets[0]): node.value for node in body if isinstance(node, ast.Assign)}
    offered = [name for name in ast.literal_eval(values["__all__"]) if not name.startswith("_")]
    names = ", ".join(f"[`{name}`][dreamer.{name}]" for name in offered)
    return FIRST.format(names=names) + "".join(f"\n## {dotted(room)}\n\n{table(room)}" for room in rooms)


def module_page(module: Path) -> str:
    """A module's docstring and all that it defines, below a link to the page of the part, if it is one."""
    part = module.relative_to(PACKAGE).with_suffix(".md")
    link = f"\nWhat it is for, with examples: [the page of the part](../../parts/{part}).\n"
    link = link if (CHECKOUT / "docs" / "parts" / part).is_file() else ""
    return f"---\ntitle: {module.stem}\n---\n\n::: {dotted(module)}\n{link}"


def room_page(room: Path) -> str:
    """A package's docstring, and its modules."""
    return f"---\ntitle: {room.name}\n---\n\n::: {dotted(room)}\n    options:\n      members: false\n\n{table(room)}"


def table(room: Path) -> str:
    """The modules of a room with the first line of each docstring."""
    rows = (f"| [`{path.stem}`][{dotted(path)}] | {first_line(path)} |\n" for path in modules(room))
    return "| module | what it is |\n|---|---|\n" + "".join(rows)


def first_line(path: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
