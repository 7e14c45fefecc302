"""The page on somebody else's tests, written from what was found."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.upstream.reasons import reason

DOCS = Path(__file__).parents[2] / "docs"
RECORD = DOCS / "measurements" / "upstream.json"
PAGE = DOCS / "upstream.md"

_MODES = {"quiet": "nights that never come", "nights": "short nights"}
_NAMES = {"avalanche": "Avalanche", "lightning": "Lightning"}
_LEFT_OUT = {
    "avalanche": "Left out: ExpertGate, which loads a pretrained AlexNet.",
    "lightning": (
        "The tests are those of the tag 2.6.5. Left out: tests that start processes (`ddp`, `spawn`, `fork`, spike "
        "detection on two), where the children have no callback and most of the time would go, and those that load "
        "checkpoints of old versions, which a checkout lacks. Lightning itself skips what needs GPUs, TPUs, or a "
        "process of its own."
    ),
}
_NAMED = 8
"""Tests of one reason that are named; of more the files are."""
_HEAD = """# Other people's tests

Avalanche's and Lightning's own tests are run with our plugin or callback put into every strategy and every Trainer: as
they are, with nights that never come, and with a night of two steps after every epoch or experience. Outcomes are
compared, and where no night comes also steps, epochs, logged values and weights, which must be the same.

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
    groups = found["groups"]
    lines = [f"## {_NAMES[suite]} {found['version']}", "", _LEFT_OUT[suite], ""]
    same = " | ".join(f"the same with {words}" for words in _MODES.values())
    lines += [f"| | skipped | fail as they are | pass as they are | {same} |", "|---|---:|---:|---:|---:|---:|"]
    rows = {f"`{Path(path).name}`": _counts(group) for path, group in groups.items()}
    total = [sum(column) for column in zip(*rows.values(), strict=True)]
    for name, counts in (rows | {"together": total}).items():
        lines.append(f"| {name} | {' | '.join(f'{count:,}' for count in counts)} |")
    for mode, words in _MODES.items():
        lines += _differences(mode, words, {k: v for group in groups.values() for k, v in group["differ"].items()})
    return "\n".join(lines) + "\n"


def _counts(group: dict[str, Any]) -> list[int]:
    """Skipped, failed and passed plain, and as many the same in each mode."""
    plain = [group["outcomes"]["plain"].get(outcome, 0) for outcome in ("skipped", "failed", "passed")]
    return plain + [plain[-1] - sum(mode in why for why in group["differ"].values()) for mode in _MODES]


def _differences(mode: str, words: str, differ: dict[str, dict[str, str]]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for name, why in differ.items():
        if mode in why:
            reasons.setdefault(reason(name, mode, why[mode]), []).append(name)
    if not reasons:
        return []
    head = ["", f"What passes as it is, and differs with {words}:", "", "| reason | tests |", "|---|---|"]
    most_first = sorted(reasons.items(), key=lambda row: -len(row[1]))
    return head + [f"| {_cell(why)} | {_tests(names)} |" for why, names in most_first]


def _tests(names: list[str]) -> str:
    if len(names) <= _NAMED:
        return ", ".join(f"`{name.rpartition('::')[2]}`" for name in names)
    files = Counter(Path(name.partition("::")[0]).name for name in names)
    return f"{len(names)}: " + ", ".join(f"`{name}` {count}" for name, count in files.items())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<")
