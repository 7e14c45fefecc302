"""An ablation as it is typed, with workers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dreamer.cli import main as cli

SHORT = ("stream.experiences=2", "wake.steps=3", "stream.validation=0")


def test_it_is_typed_run_and_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    night = "night=[{name: nrem, steps: 2, batch_size: 8, perturbations: [], objectives: [cross_entropy]}]"
    words = ["memories", *SHORT, night, "--seeds", "1", "--workers", "2"]
    monkeypatch.setattr(sys, "argv", ["dreamer", "study", "ablation", *words])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 0
    folder = tmp_path / "runs/study/ablation-memories-digits"
    assert f"report: {folder.relative_to(tmp_path)}/report.html" in capsys.readouterr().out
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Ablation of the nights of memories on digits" in page and "without nights" in page
