"""Parts are found by their file, without a registry."""

from __future__ import annotations

import sys

import pytest

from dreamer.config import registry
from dreamer.streams import registry as streams


@pytest.fixture
def toys(tmp_path, monkeypatch):
    """A family of its own, in a package that is written here."""
    folder = tmp_path / "toybox"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "base.py").write_text("class Toy:\n    '''The contract.'''\n")
    (folder / "_shared.py").write_text("class Shared: pass\n")
    (folder / "tin_drum.py").write_text(
        "from toybox.base import Toy\n"
        "class Stick:\n    '''A helper.'''\n"
        "class TinDrum(Toy):\n    '''Makes a noise.\n\n    And more noise.\n    '''\n"
    )
    (folder / "misnamed.py").write_text("class Other: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(registry.FAMILIES, "toys", "toybox")
    monkeypatch.setenv("DREAMER_ALLOW", "toybox")
    yield folder
    for module in [name for name in sys.modules if name.partition(".")[0] == "toybox"]:
        del sys.modules[module]


def test_a_new_file_is_a_new_part(toys):
    assert registry.names("toys") == ["tin_drum"]
    drum = registry.resolve("toys", "tin_drum")
    assert drum.__name__ == "TinDrum"
    assert registry.family_of(drum) == "toys"
    assert registry.name_of(drum) == "tin_drum"


def test_the_first_docstring_line_describes_a_part(toys):
    assert registry.describe("toys") == {"tin_drum": "Makes a noise."}


def test_a_file_without_its_class_is_an_error_that_names_the_class(toys):
    with pytest.raises(registry.UnknownPart, match="class called Misnamed"):
        registry.resolve("toys", "misnamed")


def test_the_nearest_name_is_suggested(toys):
    with pytest.raises(registry.UnknownPart, match=r"did you mean 'tin_drum'\? expected one of: tin_drum"):
        registry.resolve("toys", "tin_drums")
    with pytest.raises(registry.UnknownPart, match="did you mean 'generators'"):
        registry.names("generator")


def test_a_dotted_path_serves_for_the_users_own(toys):
    assert registry.resolve("memory", "toybox.tin_drum.Stick").__name__ == "Stick"
    with pytest.raises(registry.UnknownPart, match="no class 'Stik'; did you mean 'Stick'"):
        registry.resolve("memory", "toybox.tin_drum.Stik")
    with pytest.raises(registry.UnknownPart, match=r"cannot import 'toybox\.no_such'"):
        registry.resolve("memory", "toybox.no_such.Thing")


def test_an_import_that_fails_inside_the_users_module_is_not_hidden(toys):
    (toys / "broken.py").write_text("import a_module_that_nobody_has\n")
    with pytest.raises(ModuleNotFoundError, match="a_module_that_nobody_has"):
        registry.resolve("memory", "toybox.broken.Thing")


@pytest.mark.parametrize("family", sorted(registry.FAMILIES))
def test_every_part_of_every_family_is_found_and_described(family):
    described = registry.describe(family)
    assert described
    for name, line in described.items():
        assert line, f"{family}/{name} has no docstring"
        assert registry.name_of(registry.resolve(family, name)) == name


def test_the_lines_about_streams_are_those_of_their_docstrings() -> None:
    for name, line in streams.available().items():
        assert registry.summary(streams.resolve(name)) == line
