"""The dreams of a language model, as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from dreamer.core.files import write_text
from dreamer.core.tokens import Tokens
from dreamer.report._canvas import class_name


def write_dreams(x: Tensor, y: Tensor, path: str | Path, tokens: Tokens, domain_names: Sequence[str] = ()) -> Path:
    r"""Write a night's texts into a file: under the name of each domain its texts, with a line for each.

    Args:
        x: (N, T) int64 tokens, on the CPU.
        y: (N,) int64, the domains that they are of.
        tokens: what the tokens stand for; line breaks within a text are written as ``\n``.

    Returns:
        The path.
    """
    parts = []
    for domain in y.unique().tolist():
        texts = [tokens.write(row).replace("\\", "\\\\").replace("\n", "\\n") for row in x[y == domain].tolist()]
        parts.append("\n".join([f"[{class_name(domain, domain_names)}]", *texts, ""]))
    path = Path(path)
    write_text(path, "\n".join(parts))
    return path
