"""What is imported when: nothing heavy before it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import native_files

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
    "words", [["--help"], ["--version"], ["run", "--help"], ["plan", "--help"], ["list", "--help"], ["list"]]
)
def test_help_and_lists_print_without_torch(words):
    code = (
        f"sys.argv = ['dreamer', *{words!r}]\nfrom dreamer.cli.main import main\n"
        "try: main()\nexcept SystemExit as left: assert not left.code"
    )
    loaded = loaded_after(code)
    assert "typer" in loaded
    assert not loaded & {"torch", "pytorch_lightning", "avalanche", "wandb", "omegaconf"}


def test_avalanche_is_imported_only_when_a_plugin_is_made():
    room = (
        "from dreamer.interop.avalanche import strategies\n"
        "from dreamer.interop.avalanche.plugin import DreamPlugin\nfrom dreamer.memory import ClassBalanced\n"
    )
    assert "avalanche" not in loaded_after(room)
    made = "import warnings\nwarnings.simplefilter('ignore')\n" + room + "DreamPlugin(ClassBalanced(3))"
    assert "avalanche" in loaded_after(made)


def test_avalanche_is_imported_without_traces():
    """No warning is left, and torch's ``Dataset.__add__`` stays torch's."""
    code = """
import warnings
warnings.simplefilter("error")
from torch.utils.data import Dataset
before = Dataset.__add__
from dreamer.interop.avalanche.benchmarks import quiet
with quiet():
    import avalanche
assert Dataset.__add__ is before
"""
    assert "avalanche" in loaded_after(code)


def test_streams_by_name_import_neither_avalanche_nor_what_they_do_not_need(tmp_path):
    assert not loaded_after("import dreamer.streams.registry") & {"datasets", "timm", "torchvision", "avalanche"}
    native_files.write_idx(tmp_path / "MNIST" / "raw")
    code = f"""
from dreamer.streams.registry import available, build, signature
available(), signature("core50")
build("digits"), build("permuted_mnist", root={str(tmp_path)!r})
"""
    assert "avalanche" not in loaded_after(code)


def test_matplotlib_is_imported_when_drawing_and_pyplot_never(tmp_path):
    code = f"""
from dreamer.report import pictures
assert "matplotlib" not in sys.modules
import torch
pictures.draw_dreams(torch.rand(2, 1, 4, 4), torch.arange(2), {str(tmp_path / "dreams.png")!r})
assert "matplotlib.pyplot" not in sys.modules
"""
    assert "matplotlib" in loaded_after(code)
