"""What is imported when: nothing heavy before it is needed, nothing anywhere but in its own room."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import dreamer

CHECKOUT = Path(__file__).parents[2]


def loaded_after(code: str) -> set[str]:
    """Top-level packages that are loaded in a fresh process after some code."""
    script = (
        f"import sys\n{code}\nprint('\\n'.join({{name.partition('.')[0] for name in sys.modules}}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=CHECKOUT, check=True)
    return set(done.stderr.splitlines())


def test_importing_the_package_loads_no_framework():
    loaded = loaded_after("import dreamer; dreamer.__version__")
    assert not loaded & {"torch", "pytorch_lightning", "avalanche", "wandb", "omegaconf", "matplotlib"}


def test_every_public_name_comes_without_avalanche_wandb_and_omegaconf():
    loaded = loaded_after("import dreamer\nfor name in dreamer.__all__: getattr(dreamer, name)")
    assert "torch" in loaded
    assert not loaded & {"avalanche", "wandb", "omegaconf", "jsonargparse"}


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["run", "--help"], ["plan", "--help"], ["list", "--help"]]
)
def test_help_answers_without_torch(words):
    code = (
        f"sys.argv = ['dreamer', *{words!r}]\nfrom dreamer.cli.main import main\n"
        "try: main()\nexcept SystemExit as left: assert not left.code"
    )
    loaded = loaded_after(code)
    assert "typer" in loaded
    assert not loaded & {"torch", "pytorch_lightning", "avalanche", "wandb", "omegaconf"}


def test_public_names_are_listed_and_others_refused():
    assert set(dreamer.__all__) <= set(dir(dreamer))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = dreamer.nothing


def test_the_rooms_import_downwards_only():
    pytest.importorskip("importlinter", reason="needs import-linter: pip install 'dreamer[test]'")
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()", "--no-cache"],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
    )
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout
