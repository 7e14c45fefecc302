"""The shell of every page: one HTML file that needs no network, neither to open nor to be read.

A page holds its style, its script, its figures and its pictures; a policy in its head forbids it to fetch anything and
to run anything but that script. What it shows comes from a template that extends ``page.html.jinja``.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from dreamer.core.files import write_text

FILE_NAME = "report.html"
_HERE = Path(__file__).parent


def write_page(folder: str | Path, template: Path, **content: Any) -> Path:
    """Write the page of many runs."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader([template.parent, _HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    text = environment.get_template(template.name).render(
        style=(_HERE / "page.css").read_text(encoding="utf-8"),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **content,
    )
    path = Path(folder) / FILE_NAME
    write_text(path, text)
    return path
