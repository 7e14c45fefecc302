"""The page on somebody else's tests, written from what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
RECORD = DOCS / "measurements" / "upstream.json"
PAGE = DOCS / "upstream.md"

_MODES = {"plain": "as they are", "quiet": "nights that never come", "nights": "short nights"}
_NAMES = {"avalanche": "Avalanche", "lightning": "Lightning"}
_HEAD = """# Other people's tests

Avalanche's and Lightning's own tests are run with our plugin or callback put into every strategy and every Trainer: as
they are, with nights that never come, and with short nights. Outcomes are compared, and where no night comes also
steps, epochs, logged values and weights, which must be the same.

<!-- not run: it needs a checkout of the other project's tests -->
```bash
python -m benchmarks.upstream avalanche FOLDER
python -m benchmarks.upstream lightning FOLDER tests_pytorch/callbacks
```

The tables are written by that command from `docs/measurements/upstream.json`. A test may take 60 seconds of a CPU.
"""


def page(record: dict[str, Any]) -> str:
    """The page, a section for each suite."""
    return "\n".join([_HEAD, *(_section(suite, record[suite]) for suite in sorted(record))])


def _section(suite: str, found: dict[str, Any]) -> str:
    modes = [mode for mode in _MODES if mode in found["outcomes"]]
    lines = [
        f"## {_NAMES[suite]} {found['version']}",
        "",
        f"Run: {', '.join(f'`{Path(path).name}`' for path in found['tests'])}.",
        "",
    ]
    lines += ["| | passed | failed | skipped |", "|---|---:|---:|---:|"]
    for mode in modes:
        counts = found["outcomes"][mode]
        cells = [str(counts.get(key, 0)) for key in ("passed", "failed", "skipped")]
        lines.append(f"| {_MODES[mode]} | {' | '.join(cells)} |")
    for mode in modes[1:]:
        reasons: dict[str, list[str]] = {}
        for name, why in found["differ"].items():
            if mode in why:
                reasons.setdefault(why[mode], []).append(name.rpartition("::")[2])
        if reasons:
            lines += [
                "",
                f"What passes as it is, and differs with {_MODES[mode]}:",
                "",
                "| reason | tests |",
                "|---|---|",
            ]
            lines += [
                f"| {_cell(why)} | {', '.join(f'`{name}`' for name in names)} |" for why, names in reasons.items()
            ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<")
