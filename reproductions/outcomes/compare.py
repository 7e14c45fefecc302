"""Two records side by side: what is equal, and what differs."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

Outcome = dict[str, Any]

COLUMN = re.compile(r"(?P<table>(.*\.)?logged)\.columns\.")


def differences(a: Outcome, b: Outcome) -> tuple[list[str], list[str]]:
    """Keys that differ, and remarks on what does not count."""
    if "error" in a or "error" in b:
        lines = [(outcome.get("error") or "no error").strip().splitlines()[-1][-300:] for outcome in (a, b)]
        return [f"error: {lines[0]} | {lines[1]}"], []
    here, there = _flat(a), _flat(b)
    wrong, remarks = [], []
    # columns of tables count by their content: they may have other names
    contents: dict[str, tuple[Counter[str], Counter[str]]] = {}
    for side, leaves in enumerate((here, there)):
        for key, value in leaves.items():
            if found := COLUMN.match(key):
                contents.setdefault(found["table"], (Counter(), Counter()))[side][value] += 1
    for key in sorted({*here, *there}):
        x, y = here.get(key, "absent"), there.get(key, "absent")
        if found := COLUMN.match(key):
            left, right = contents[found["table"]]
            if x in left - right or y in right - left:
                wrong.append(key)
        elif x != y:
            if key.endswith(".ordered") and here.get(key[:-7] + "any_order") == there.get(key[:-7] + "any_order"):
                remarks.append(f"{key}: the same tensors under names of another order")
            else:
                wrong.append(key)
    return wrong, remarks


def _of_processes() -> set[str]:
    """The cases that a record without --processes may lack."""
    from reproductions.outcomes.cases import PROCESSES

    return set(PROCESSES)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def table(cases: dict[str, tuple[Outcome, bool | None]]) -> None:
    """Print a line for each case: its numbers, and whether it is equal where that is known."""
    print(
        f"\n{'case':<24} {'avg acc %':>9} {'forgetting':>10} {'steps':>6}  {'nights':>6}  "
        f"{'weights':<12}  {'generator':<12}  equal"
    )
    for name, (outcome, equal) in cases.items():
        metrics = outcome.get("metrics") or {}
        accuracy, forgotten = _percent(metrics.get("average_accuracy")), _percent(metrics.get("forgetting"))
        prints = [((outcome.get(part) or {}).get("ordered") or "-")[:12] for part in ("weights", "generator")]
        nights = outcome.get("nights", len({stage[3] for stage in outcome.get("hypnogram", []) if stage[3] >= 0}))
        taken = outcome.get("optimizer_steps")
        steps = sum(taken.values()) if taken else outcome.get("global_step", 0)
        verdict = "" if equal is None else "yes" if equal else "NO"
        verdict = "ERROR" if "error" in outcome else verdict
        print(
            f"{name:<24} {accuracy:>9} {forgotten:>10} {steps:>6}  {nights or '-':>6}  "
            f"{prints[0]:<12}  {prints[1]:<12}  {verdict}"
        )


def compare(left: Path, right: Path) -> int:
    """Print what differs between two records; the exit code, 0 when nothing does."""
    a, b = json.loads(left.read_text()), json.loads(right.read_text())
    rows: dict[str, tuple[Outcome, bool | None]] = {}
    lines: list[str] = []
    for name in [*a["cases"], *(name for name in b["cases"] if name not in a["cases"])]:
        if name not in a["cases"] or name not in b["cases"]:
            where, whole = (left, a["whole"]) if name not in a["cases"] else (right, b["whole"])
            if whole and name not in _of_processes():
                rows[name] = ({}, False)
                lines.append(f"{name}: missing in {where}")
            continue
        one, other = a["cases"][name], b["cases"][name]
        wrong, remarks = differences(one, other)
        rows[name] = (other, not wrong)
        if wrong:
            shown = ", ".join(wrong[:25]) + (f" and {len(wrong) - 25} more" if len(wrong) > 25 else "")
            lines.append(f"{name}: differs in {shown}")
        lines += [f"{name}: (no difference) {remark}" for remark in remarks]
    table(rows)
    unequal = sum(not equal for _, equal in rows.values())
    print(f"\n{left} against {right}: {len(rows) - unequal} equal, {unequal} not")
    for line in lines:
        print(line)
    return 1 if unequal or not rows else 0


def _flat(value: Any, path: str = "") -> Outcome:
    if isinstance(value, dict) and value:
        return {key: leaf for name in value for key, leaf in _flat(value[name], f"{path}.{name}".lstrip(".")).items()}
    return {path: value}
