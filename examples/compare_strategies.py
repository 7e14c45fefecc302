"""Compare two strategies from Python: run on the same seeds, tested in pairs, reported on one page.

    python examples/compare_strategies.py

It is `dreamer compare er fine_tune --seeds 2 wake.steps=60` in a few lines: the table is printed, and the folder holds
it for papers as well. Re-running resumes what is missing. Expect:

    er ahead of fine_tune on both seeds: True
    written: report.html, results.csv, results.json, table.md, table.tex
"""

from __future__ import annotations

from pathlib import Path

from dreamer.compare.run import compare

FOLDER = Path("runs/compare/two")

if __name__ == "__main__":
    grid = {"arms": ["er", "fine_tune"], "streams": ["digits"], "seeds": 2, "set": {"wake.steps": 60}}
    comparison = compare(grid, FOLDER)

    er, fine_tune = (comparison.of(arm, "digits") for arm in ("er", "fine_tune"))
    ahead = all(er[seed].average_accuracy > fine_tune[seed].average_accuracy for seed in (1, 2))
    print(f"er ahead of fine_tune on both seeds: {ahead}")
    print("written:", ", ".join(sorted(path.name for path in FOLDER.glob("[rt]*.*"))))
