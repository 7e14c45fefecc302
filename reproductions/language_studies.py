"""The tables of docs/studies_results.md on the studies of language, from the cells that they recorded.

    python -m reproductions.language_studies

``dreamer study NAME`` writes ``results.csv`` and ``findings.txt`` into its folder; those on record lie in
``docs/studies``.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass

from dreamer.core.text import DASH, MINUS
from reproductions import records

PAGE = records.DOCS / "studies_results.md"


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        title: of the first column.
        arms: what its rows are called, by data set and arm.
        columns: what its columns are called, by measure.
        percent: measures that are fractions, and shown in per cent.
    """

    title: str
    arms: Mapping[tuple[str, str], str]
    columns: Mapping[str, str]
    percent: tuple[str, ...]


TABLES = {
    "language-room": Table(
        "replayed beside the new task",
        {
            ("toy", "none"): "nothing",
            ("toy", "none_slow"): "nothing, the new task at a tenth of the learning rate",
            ("toy", "none_slower"): "nothing, the new task at a hundredth of the learning rate",
            ("toy", "real"): "real old texts, by next tokens",
            ("toy", "own_next"): "own words, by next tokens",
            ("toy", "own_kl"): "own words, under the distributions of a frozen copy",
            ("toy", "own_perturbed"): "the same at other temperatures",
            ("toy", "random_next"): "random legal texts, by next tokens",
            ("toy", "random_kl"): "random legal texts, under the distributions of a frozen copy",
            ("toy", "foreign_next"): "another model's words, by next tokens",
            ("toy", "foreign_kl"): "another model's words, under the distributions of a frozen copy",
            ("toy", "night"): "nothing by day, own words in a night after it",
            ("width_32", "none"): "half as wide: nothing",
            ("width_32", "own_kl"): "half as wide: own words, under the distributions of a frozen copy",
            ("width_48", "none"): "three quarters as wide: nothing",
            ("width_48", "own_kl"): "three quarters as wide: own words, under the distributions of a frozen copy",
        },
        {"kept": "old task", "learnt": "new task", "texts": "thousand texts"},
        ("kept", "learnt"),
    ),
    "language-facts": Table(
        "after reading",
        {
            ("people_200", "nothing"): "nothing",
            ("people_200", "text"): "the same text again",
            ("people_200", "own_words"): "its own words",
            ("people_200", "own_reordered"): "its own words in another order",
            ("people_200", "own_recombined"): "its own words, retold by itself and mixed",
            ("people_200", "text_recombined"): "the text, retold by itself and mixed",
            ("people_200", "by_hand"): "true texts in all wordings (the ceiling)",
            ("people_1000", "text"): "1 000 people: the same text again",
            ("people_1000", "own_words"): "1 000 people: its own words",
            ("people_1000", "own_recombined"): "1 000 people: its own words, retold by itself and mixed",
            ("people_1000", "by_hand"): "1 000 people: true texts in all wordings (the ceiling)",
        },
        {
            "accuracy": "questions answered",
            "wordings": "other wordings",
            "stored": "its own wording",
            "true": "true sentences",
            "covered": "facts covered",
        },
        ("accuracy", "wordings", "stored", "true", "covered"),
    ),
    "language-snake": Table(
        "every generation learns",
        {
            ("documentation", "beside"): "the last texts and all human ones",
            ("documentation", "accumulate"): "human texts and all that were written so far",
            ("documentation", "replace"): "the last texts",
            ("documentation", "perturbed"): "the last texts, segments recombined",
            ("documentation", "top_k"): "the last texts, of the 20 likeliest words",
            ("documentation", "greedy"): "the last texts, of the likeliest words",
            ("documentation", "filtered"): "the last texts, the half that surprises least",
        },
        {
            "perplexity": "perplexity on human text",
            "distinct_3": "distinct triples (%)",
            "rare": "rare words (%)",
            "copied": "longest copied span (words)",
        },
        ("distinct_3", "rare"),
    ),
}


def main() -> None:
    """Write the tables."""
    for study in TABLES:
        records.write_between(PAGE, "language_studies", section(study), study)
        print(f"{section(study)}\n")


def section(study: str) -> str:
    """What stands in the page between the comments."""
    return f"{table(study)}\n\nWhat was fixed beforehand:\n\n{verdicts(study)}"


def cells(study: str) -> list[dict[str, str]]:
    """The cells on record, those that are missing too."""
    with (records.DOCS / "studies" / study / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table(study: str) -> str:
    """How many cells are on record, and mean and standard deviation over the seeds of what they measured."""
    shape, rows = TABLES[study], cells(study)
    there = [row for row in rows if row["seconds"]]
    lines = [
        f"{len(there)} of {len(rows)} cells are on record.",
        "",
        f"| {' | '.join([shape.title, 'seeds', *shape.columns.values()])} |",
        f"|{'---|' * (2 + len(shape.columns))}",
    ]
    for (data, arm), name in shape.arms.items():
        mine = [row for row in there if (row["data"], row["arm"]) == (data, arm)]
        if not mine:
            continue
        found = []
        for measure in shape.columns:
            factor = 100 if measure in shape.percent else 1
            values = [factor * float(row[measure]) for row in mine if row[measure]]
            found.append(records.spread(values) if values else "-")
        lines.append(f"| {' | '.join([name, str(len(mine)), *found])} |")
    real = held_out(study)
    if real:
        lines.append(f"| {' | '.join(['held-out text', '', *(real.get(name, '-') for name in shape.columns)])} |")
    return "\n".join(lines)


def held_out(study: str) -> dict[str, str]:
    """What held-out text has of the measures, as the study printed it; empty where it has none."""
    found = (records.DOCS / "studies" / study / "findings.txt").read_text(encoding="utf-8").splitlines()
    rows = [re.split(r" {2,}", line) for line in found]
    names = next(row for row in rows if row[:2] == ["arm", "seeds"])[2:]
    values = next((line.split()[2:] for line in found if line.startswith("real data ")), [])
    return {name: value.replace(DASH, "-") for name, value in zip(names, values, strict=False)}


def verdicts(study: str) -> str:
    """What the study concluded of its primary contrasts, in the words that it printed."""
    found = (records.DOCS / "studies" / study / "findings.txt").read_text(encoding="utf-8").replace(MINUS, "-")
    after = found.split("\nExploratory:", 1)[1].split("\n\n", 1)[1]
    lines = [f"> {line}" for line in after.splitlines() if line.startswith("On ")]
    return "\n>\n".join(lines)


if __name__ == "__main__":
    main()
