"""What a person gets who installs a wheel: the package, its type marker and the configurations, outside a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import dreamer
from dreamer import config

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    pytest.importorskip("hatchling", reason="needs hatchling: pip install 'dreamer[test]'")
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)]
    subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_a_wheel_holds_every_configuration_and_no_test(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {path.relative_to(config.folder()).as_posix() for path in config.folder().rglob("*.yaml")}
    assert {"digits.yaml", "strategies/dreams.yaml"} <= shipped
    assert {f"dreamer/configs/{name}" for name in shipped} <= names
    assert {"dreamer/py.typed", "dreamer/cli/main.py"} <= names
    beside = ("tests/", "configs/", "examples/", "benchmarks/", "reproductions/")
    assert not [name for name in names if name.startswith(beside)]


def test_an_unpacked_wheel_finds_its_configurations_from_another_folder(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "dreamer", "plan", "digits", "fine_tune", "wake.steps=7"],
        cwd=tmp_path / "elsewhere",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "steps: wake 35, nrem 0, rem 0" in done.stdout
    assert not list((tmp_path / "elsewhere").iterdir())


def test_the_wheel_carries_the_version_and_the_command(wheel):
    with zipfile.ZipFile(wheel) as packed:
        info = next(name for name in packed.namelist() if name.endswith("METADATA"))
        metadata = packed.read(info).decode()
        commands = packed.read(info.replace("METADATA", "entry_points.txt")).decode()
    assert f"\nVersion: {dreamer.__version__}\n" in metadata
    assert "dreamer = dreamer.cli.main:main" in commands
    assert "!=2.6.2" in metadata and "!=2.6.3" in metadata
