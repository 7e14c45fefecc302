"""The tables of a comparison compile."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from dreamer.compare.analysis import analyse
from dreamer.compare.tables import (
    write_tables,
)
from tests.compare.test_tables import toy


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_with_booktabs_alone(tmp_path):
    comparison = toy(names={"er": r"e&r_50%<|>", "bir": r"[#1] {\x}$~^*"})
    write_tables(comparison, analyse(comparison), tmp_path)
    page = r"\documentclass{article}\usepackage{booktabs}\begin{document}\input{table.tex}\end{document}"
    (tmp_path / "page.tex").write_text(page)
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "page.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0 and (tmp_path / "page.pdf").is_file(), done.stdout[-2000:]
