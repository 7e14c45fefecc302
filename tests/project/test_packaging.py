"""Every dependency that is stated has a version that the tests ran with."""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


def test_every_dependency_is_constrained():
    stated = re.findall(r'^    "([a-zA-Z][\w-]*)', (CHECKOUT / "pyproject.toml").read_text(), flags=re.M)
    wanted = {name for name in stated if name not in ("dreamer",)} & set(_dependencies())
    lines = (CHECKOUT / "constraints.txt").read_text().splitlines()
    pinned = {re.sub(r"[-_.]+", "-", line.partition("==")[0].lower()) for line in lines if "==" in line}
    assert wanted and wanted <= pinned
    assert not [line for line in lines if "/" in line.partition("#")[0] or "@" in line.partition("#")[0]]


def _dependencies() -> list[str]:
    text = (CHECKOUT / "pyproject.toml").read_text()
    blocks = re.findall(r"^(?:dependencies|test|tensorboard) = \[(.*?)\]\s*$", text, flags=re.M | re.S)
    return [name for block in blocks for name in re.findall(r'"([a-zA-Z][\w-]*)(?=[><=!"])', block)]
