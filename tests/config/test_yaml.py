"""Configurations are merged, checked against signatures, and refused with one clear sentence."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Protocol

import pytest
import torch

from dreamer import config
from dreamer.config import registry
from dreamer.config.binding import ConfigError, bind, check
from dreamer.runs.run_config import run_config
from dreamer.streams import TensorSamples, arithmetic, from_texts, make_stream
from dreamer.training.module import WakeSleepModule

TOYS = '''
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

class Toy(Protocol):
    """The contract, with a data member."""

    size: int
'''
DRUM = '''
from __future__ import annotations
from toybox.base import *

class Drum:
    """A drum."""

    def __init__(self, size: int = 3, pitch: float = 1.0, skin: Literal["calf", "goat"] = "calf", loud: bool = False,
                 sticks: Sequence[int] = (1, 2), inner: Toy | None = None, box: Sequence[Toy] = (),
                 where: Path | None = None, span: tuple[int, int] = (0, 1)):
        if size < 1:
            raise ValueError(f"expected a size of at least 1, got {size}")
        self.__dict__.update(locals())
'''
FLUTE = '''
from __future__ import annotations

class Flute:
    """A flute."""

    def __init__(self, holes: int, num_classes: int, count: int | float = 1):
        self.holes, self.num_classes, self.count = holes, num_classes, count
'''


@pytest.fixture
def drum(tmp_path, monkeypatch):
    """The class of a part in a family that is written here."""
    folder = tmp_path / "toybox"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    for name, text in {"base": TOYS, "drum": DRUM, "flute": FLUTE}.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(registry.FAMILIES, "toys", "toybox")
    monkeypatch.setenv("DREAMER_ALLOW", "toybox")
    yield registry.resolve("toys", "drum")
    for module in [name for name in sys.modules if name.partition(".")[0] == "toybox"]:
        del sys.modules[module]


def written(tmp_path: Path, name: str, text: str) -> str:
    path = tmp_path / f"{name}.yaml"
    path.write_text(text)
    return str(path)


class TestMerging:
    def test_what_is_for_backbones_lies_where_it_is_written(self, tmp_path):
        over = written(tmp_path, "over", "with_backbone:\n  base: er\n  wake:\n    steps: 3\nwake:\n  steps: 1\n")
        mine = written(tmp_path, "mine", f"base: {over}\nmemory:\n  capacity: 7\n")
        assert config.read(mine)["wake"] == {"steps": 1} and config.read(mine)["memory"] == {"capacity": 7}
        below = config.read(mine, "backbone=resnet18")
        assert below["wake"]["steps"] == 3 and below["memory"] == {**config.read("er")["memory"], "capacity": 7}
        assert config.read(mine, "backbone=resnet18", "wake.steps=9")["wake"]["steps"] == 9
        bad = written(tmp_path, "bad", "with_backbone: 3\n")
        with pytest.raises(ConfigError, match=r"with_backbone: expected keys with values in .*bad.yaml, got 3"):
            config.read(bad)

    def test_files_merge_left_to_right_and_words_come_last(self, tmp_path):
        first = written(tmp_path, "first", "a: {x: 1, y: 2}\nb: [1, 2]\n")
        second = written(tmp_path, "second", "a: {y: 3}\nb: [4]\n")
        assert config.read("a.y=5", first, second, "c=1e-3") == {
            "a": {"x": 1, "y": 5},
            "b": [4],
            "c": 0.001,
            "name": "first-second",
        }

    @pytest.mark.parametrize(
        ("word", "value"),
        [("true", True), ("null", None), ("[1, 2]", [1, 2]), ("1e-3", 0.001), ("a=b", "a=b"), ("{p: q}", {"p": "q"})],
    )
    def test_words_are_typed(self, tmp_path, word, value):
        read = config.read(written(tmp_path, "empty", "{}"), f"key={word}")["key"]
        assert read == value
        assert type(read) is type(value)

    def test_another_name_replaces_the_node_and_its_stale_keys(self):
        under = {"memory": {"name": "reservoir", "capacity": 10}}
        assert config.merge(under, {"memory": {"name": "other", "k": 1}}) == {"memory": {"name": "other", "k": 1}}
        assert config.merge(under, {"memory": "other"}) == {"memory": {"name": "other"}}

    def test_the_same_name_keeps_the_other_keys(self):
        under = {"memory": {"name": "reservoir", "capacity": 10}}
        for over in ("reservoir", {"name": "reservoir"}, {}):
            assert config.merge(under, {"memory": over}) == under
        assert config.merge(under, {"memory": {"store": "uint8"}})["memory"]["capacity"] == 10
        assert config.merge({"memory": "reservoir"}, {"memory": {"capacity": 5}}) == {
            "memory": {"name": "reservoir", "capacity": 5}
        }

    def test_the_name_of_the_run_itself_is_no_part(self):
        assert config.merge({"name": "a", "seed": 1}, {"name": "b"}) == {"name": "b", "seed": 1}

    def test_null_takes_a_value_back(self):
        assert config.merge({"memory": {"name": "reservoir"}}, {"memory": None}) == {"memory": None}

    def test_a_word_reaches_into_a_list(self):
        under = {"night": [{"name": "nrem", "steps": 1}, "rem"]}
        merged = config.merge(under, {"night": {"0": {"steps": 9}, "1": {"steps": 4}}})
        assert merged == {"night": [{"name": "nrem", "steps": 9}, {"name": "rem", "steps": 4}]}
        with pytest.raises(ConfigError, match=r"night\.2: the list has 2 items"):
            config.merge(under, {"night": {"2": {"steps": 9}}})

    def test_a_yaml_can_be_written_over_another(self, tmp_path):
        lower = written(tmp_path, "lower", "a: {x: 1, y: 1}\n")
        upper = written(tmp_path, "upper", f"base: {lower}\na: {{x: 2}}\n")
        assert config.read(upper) == {"a": {"x": 2, "y": 1}, "name": "upper"}

    def test_interpolations_are_resolved_over_the_merged_whole(self, tmp_path):
        plain = config.read(written(tmp_path, "one", "a: 1\nb: ${a}\n"), "a=2")
        assert plain["b"] == 2
        with pytest.raises(ConfigError, match=r"b: .*nothing"):
            config.read(written(tmp_path, "two", "b: ${nothing}\n"))

    def test_no_argument_means_the_embedded_digits(self):
        assert config.read() == config.read("digits")
        assert config.read("seed=3")["stream"]["name"] == "digits"

    def test_merging_changes_neither_side(self):
        under, over = {"a": {"x": [1]}}, {"a": {"y": 2}}
        config.merge(under, over)
        assert (under, over) == ({"a": {"x": [1]}}, {"a": {"y": 2}})


class TestReadingRefuses:
    def test_an_unknown_name(self):
        with pytest.raises(ConfigError, match="no configuration called 'digit'; did you mean 'digits'"):
            config.read("digit")

    def test_a_missing_file(self):
        with pytest.raises(ConfigError, match=r"expected a YAML file at 'no/such\.yaml'"):
            config.read("no/such.yaml")

    @pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n", "a: ${b\n", "a: ???\n"])
    def test_a_file_that_cannot_be_read(self, tmp_path, text):
        with pytest.raises(ConfigError) as caught:
            config.read(written(tmp_path, "bad", text))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("word", ["=5", "a..b=1", "a=[1", ".a=2"])
    def test_a_word_that_is_none(self, word):
        with pytest.raises(ConfigError) as caught:
            config.read("digits", word)
        assert "\n" not in str(caught.value)


class TestBinding:
    def test_values_get_the_type_of_the_hint(self, drum):
        built = bind(drum, {"pitch": 2, "size": 4.0, "sticks": [1], "where": "a/b", "span": [2, 3]}).build()
        assert built.pitch == 2.0 and type(built.pitch) is float
        assert built.size == 4 and type(built.size) is int
        assert built.sticks == (1,) and built.where == Path("a/b") and built.span == (2, 3)

    def test_nothing_configured_keeps_the_signatures_defaults(self, drum):
        assert bind(drum, {}).options == {}

    def test_null_means_none_where_none_is_allowed_and_the_default_elsewhere(self, drum):
        assert bind(drum, {"inner": None, "size": None}).options == {"inner": None}

    def test_parts_nest_alone_and_in_lists(self, drum):
        built = bind(drum, {"inner": "drum", "box": [{"name": "drum", "size": 7}, "drum"]}).build()
        assert isinstance(built.inner, drum)
        assert [toy.size for toy in built.box] == [7, 3]

    def test_what_only_the_stream_knows_is_handed_in_while_building(self, drum):
        plan = bind(drum, {"inner": {"name": "flute", "holes": 6}}, given=("num_classes",))
        assert plan.build(num_classes=10, other=1).inner.num_classes == 10
        own = bind(drum, {"inner": {"name": "flute", "holes": 6, "num_classes": 3}}, given=("num_classes",))
        assert own.build(num_classes=10).inner.num_classes == 3

    def test_a_count_and_a_fraction_are_distinguished(self, drum):
        flute = registry.resolve("toys", "flute")
        for value in (1, 1.0):
            bound = bind(flute, {"holes": 1, "count": value}, given=("num_classes",)).options["count"]
            assert type(bound) is type(value)

    def test_a_dotted_path_of_the_users_own(self, drum):
        assert isinstance(bind(drum, {"inner": {"name": "toybox.drum.Drum"}}).build().inner, drum)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"sise": 1}, r"^toy\.sise: unknown key of Drum; did you mean 'size'\? expected one of: box, inner"),
            ({"size": "big"}, r"^toy\.size: expected a whole number, got 'big'$"),
            ({"size": True}, r"^toy\.size: expected a whole number, got True$"),
            ({"size": 1.5}, r"^toy\.size: expected a whole number, got 1\.5$"),
            ({"pitch": "high"}, r"^toy\.pitch: expected a number, got 'high'$"),
            ({"loud": 1}, r"^toy\.loud: expected true or false, got 1$"),
            ({"skin": "goats"}, r"^toy\.skin: expected one of calf, goat, got 'goats'; did you mean 'goat'\?$"),
            ({"sticks": 1}, r"^toy\.sticks: expected a list \(each a whole number\), got 1$"),
            ({"sticks": [1, "two"]}, r"^toy\.sticks\.1: expected a whole number, got 'two'$"),
            ({"span": [1]}, r"^toy\.span: expected a list of 2 values, got 1$"),
            ({"inner": {"name": "drun"}}, r"^toy\.inner\.name: there is no 'drun' here; did you mean 'drum'\?"),
            ({"inner": {"size": 3}}, r"^toy\.inner\.name: missing; expected one of: drum, flute$"),
            ({"inner": {"name": "flute"}}, r"^toy\.inner\.holes: missing; Flute needs a whole number$"),
            ({"box": [{"name": "drum", "size": "x"}]}, r"^toy\.box\.0\.size: expected a whole number, got 'x'$"),
            ({"inner": {"name": "no.such.Thing"}}, r"^toy\.inner\.name: cannot import 'no\.such'"),
            ("loud", r"^toy: expected keys with values, got 'loud'$"),
        ],
    )
    def test_what_does_not_fit_is_refused_with_its_path(self, drum, options, message):
        with pytest.raises(ConfigError, match=message):
            bind(drum, options, "toy", given=("num_classes",))

    def test_what_a_constructor_refuses_is_reported_with_its_path(self, drum):
        with pytest.raises(ConfigError, match=r"^toy\.box\.0: expected a size of at least 1, got 0$"):
            bind(drum, {"box": [{"name": "drum", "size": 0}]}, "toy").build()

    def test_a_refused_key_says_so(self, drum):
        with pytest.raises(ConfigError, match="loud: cannot be configured, because the run sets it itself"):
            bind(drum, {"loud": True}, refused=("loud",))

    def test_a_part_without_a_name_is_another_of_the_defaults_kind(self, drum):
        contract = sys.modules["toybox.base"].Toy
        assert check({"size": 2}, contract, "toy", default=drum()).target is drum

    def test_a_contract_may_be_written_outside_its_family(self, drum):
        class Toy(Protocol):
            size: int

        assert check("flute", Toy, "toy", given=("holes", "num_classes")).target.__name__ == "Flute"


SHAPES = {
    "diabetes": (10,),
    "digits": (1, 8, 8),
    "mnist": (1, 28, 28),
    "omniglot": (1, 28, 28),
    "tinyimagenet": (3, 64, 64),
}
STRATEGIES = sorted(name for name, path in config.catalog().items() if path.parent.name == "strategies")
OF_TEXT = [name for name in STRATEGIES if name.startswith("own_words")]
RUNS = sorted(set(config.catalog()) - set(STRATEGIES))


def planned(*items: str):
    """The plan of a configuration's run on two made-up experiences of the stream's shape."""
    items = (*items, "stream.file=my_table.csv") if items[0] == "table" else items
    plan = run_config(config.read(*items))
    name = config.read(*items)["stream"]["name"]
    if name == "arithmetic":
        stream = arithmetic(samples=40, test=10)
        return plan.build_module(stream).plan(stream)
    if name == "text":
        stream = from_texts({"one": "some words " * 90, "other": "further words " * 90})
        return plan.build_module(stream).plan(stream)
    shape = next((shape for word, shape in SHAPES.items() if word in name), (3, 32, 32))
    labels = [torch.tensor([0, 1] * 4) + 2 * i for i in range(2)]
    targets = [y.float() for y in labels] if name == "diabetes" else labels
    parts = [TensorSamples(torch.zeros(8, *shape), y) for y in targets]
    stream = make_stream(name, [(samples, samples) for samples in parts])
    module = plan.build_module(stream)
    assert module(torch.zeros(3, *shape)).shape == (3, 1 if name == "diabetes" else 4)
    return module.plan(stream)


class TestShelf:
    @pytest.mark.filterwarnings("ignore:backbone. efficientnet_lite0 is untrained:UserWarning")
    @pytest.mark.parametrize("name", RUNS)
    def test_every_run_builds_and_can_be_planned(self, name):
        kinds = {stage.kind for stage in planned(name)}
        assert kinds == {"wake", "nrem", "rem"}

    @pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name not in OF_TEXT])
    @pytest.mark.parametrize("name", ["split_mnist", "split_cifar10"])
    def test_every_strategy_combines_with_every_run(self, name, strategy):
        assert planned(name, strategy)[0].kind == "wake"

    @pytest.mark.parametrize("strategy", [*OF_TEXT, "fine_tune", "cumulative", "joint"])
    def test_strategies_of_text_combine_with_text(self, strategy):
        assert planned("arithmetic", strategy)[0].kind == "wake"

    @pytest.mark.parametrize("strategy", OF_TEXT)
    def test_strategies_of_text_are_refused_where_samples_are_images(self, strategy):
        with pytest.raises(ConfigError, match=r"^generator: OwnWords writes tokens"):
            planned("split_mnist", strategy)

    def test_real_texts_are_rehearsed_where_a_memory_keeps_them_as_they_come(self):
        assert planned("arithmetic", "er", "memory.store=float32")[0].kind == "wake"
        with pytest.raises(ValueError, match="expected store='float32'"):
            planned("arithmetic", "er")

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_the_header_names_the_outputs_that_are_active(self, strategy):
        default = inspect.signature(WakeSleepModule).parameters["active_outputs"].default
        active = config.read("split_mnist", strategy).get("active_outputs", default)
        assert f"(active_outputs: {active})" in config.catalog()[strategy].read_text(encoding="utf-8")

    @pytest.mark.parametrize("strategy", ["fine_tune", "er"])
    def test_runs_without_sleep_have_no_night(self, strategy):
        assert {stage.kind for stage in planned("digits", strategy)} == {"wake"}

    @pytest.mark.parametrize("name", [*RUNS, *STRATEGIES])
    def test_opens_with_the_command_that_runs_it_and_what_it_is(self, name):
        first, second = config.catalog()[name].read_text().splitlines()[:2]
        assert first.startswith("# dreamer run ") and name in first.split()
        assert second.startswith("# ") and second == f"# {config.describe()[name]}"

    @pytest.mark.parametrize("strategy", STRATEGIES)
    def test_over_the_stream_of_its_command_a_recipe_keeps_its_own_generator(self, strategy):
        stream = config.catalog()[strategy].read_text(encoding="utf-8").split()[3]
        own = config.read(strategy).get("generator")
        assert own is None or config.read(stream, strategy)["generator"] == own

    def test_no_stale_key_survives_a_change_of_the_part(self):
        assert planned("split_mnist", "network=small_conv")
        assert "hidden" not in config.read("digits", "network=small_conv")["network"]


@pytest.mark.parametrize("stream", ["permuted_mnist", "rotated_mnist"])
def test_where_places_of_pixels_are_the_task_no_sample_is_moved(stream: str) -> None:
    read = config.read(stream)
    lists = ("perturbations", "replay_perturbations")
    used = [each["name"] for stage in (read["wake"], *read["night"]) for name in lists for each in stage.get(name, [])]
    assert used == ["latent_mixing"]
