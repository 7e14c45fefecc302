"""The notebooks run from top to bottom and come to what their texts say."""

from __future__ import annotations

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

CHECKOUT = Path(__file__).parents[2]


def executed(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> nbformat.NotebookNode:
    """The notebook after all its cells have run in a folder."""
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = nbformat.read(CHECKOUT / "examples" / "notebooks" / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def said(notebook: nbformat.NotebookNode) -> str:
    """All text: what was printed, and what was displayed, as rich does in a notebook."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "\n".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


def shown(notebook: nbformat.NotebookNode, kind: str) -> int:
    return sum(kind in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))


def test_a_first_night_shows_forgetting_and_what_nights_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = executed("a_first_night", tmp_path, monkeypatch)
    assert shown(notebook, "image/png") == 4
    text = said(notebook)
    without, with_ = (float(re.findall(rf"average accuracy {word} nights: +([\d.]+)", text)[-1]) for word in
                      ("without", "with"))  # fmt: skip
    assert without < 0.4 and with_ > 0.7
    nights = [(float(before), float(after)) for before, after in re.findall(r"([\d.]+) % before, +([\d.]+) %", text)]
    assert len(nights) == 5
    # there is nothing to bring back before the second day
    assert all(after > before + 20 for before, after in nights[1:])
    assert "steps: wake 500, nrem 250, rem 500" in text, "the plan was not shown"


def test_comparing_strategies_concludes_no_more_than_three_pairs_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = executed("comparing_strategies", tmp_path, monkeypatch)
    text = said(notebook)
    assert re.search(r"images +3 +\d", text) and re.search(r"dreams +3 +\d", text)
    differences = [float(number) for number in re.findall(r"[+-][\d.]+", re.findall(r"differences: (.*)", text)[0])]
    mean = float(re.findall(r"^difference ([+-][\d.]+) points", text, flags=re.M)[0])
    assert len(differences) == 3 and mean == pytest.approx(sum(differences) / 3, abs=0.11)
    assert float(re.findall(r"^p = ([\d.]+)", text, flags=re.M)[0]) >= 0.25
    assert shown(notebook, "image/png") == 1 and shown(notebook, "text/markdown") == 1
    assert (tmp_path / "runs" / "compare" / "notebook" / "report.html").is_file()


def test_fine_tuning_a_language_model_loses_what_its_own_words_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook = executed("fine_tuning_language", tmp_path, monkeypatch)
    text = said(notebook)

    def rights(name: str) -> tuple[float, float]:
        """Right answers in % when the run was over: of the task that was there before, and of the new one."""
        found = re.findall(rf"^{name}, after .* reverse +([\d.]+) % +sort +([\d.]+) %", text, flags=re.M)
        return float(found[-1][0]), float(found[-1][1])

    lost, learnt = rights("fine-tuned")
    assert lost < 40 and learnt > 90
    kept, not_learnt = rights("mild")
    assert kept > 95 and not_learnt < 40
    for name in ("own words by day", "nights"):
        kept, learnt = rights(name)
        assert kept > 90 and learnt > 80
    written = {task: float(share) for task, share in re.findall(r"right: (\w+) ([\d.]+) %", text)}
    assert written["reverse"] > 70 and written["sort"] > 50
    assert "steps: wake 240, nrem 120, rem 0" in text, "the plan was not shown"
    assert shown(notebook, "image/png") == 1
