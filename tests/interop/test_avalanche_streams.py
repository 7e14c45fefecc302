from __future__ import annotations

import contextlib
import inspect
import io
import sys
import time
from pathlib import Path

import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from dreamer.interop.avalanche.benchmarks import from_benchmark, quiet
from dreamer.streams import DataNotFound, DatasetSamples, Stream, sources
from dreamer.streams.classic import CLASSIC, classic
from dreamer.streams.registry import available, build, signature
from tests.helpers import native_files
from tests.helpers.stream_contract import check_stream, everything, same


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """No test uses the network, and Avalanche's own data folder is an empty one."""
    monkeypatch.setattr(sources, "reachable", lambda url: False)
    monkeypatch.setattr(sources, "_avalanche_home", lambda: tmp_path / "avalanche-home")
    monkeypatch.delenv("DREAMER_DATA", raising=False)


@pytest.fixture
def small_files_pass(monkeypatch: pytest.MonkeyPatch):
    """torchvision compares checksums, which files written by a test cannot have."""
    import torchvision.datasets.cifar

    monkeypatch.setattr(torchvision.datasets.cifar, "check_integrity", lambda *_: True)


@pytest.fixture(scope="session")
def small_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mnist")
    native_files.write_idx(root / "MNIST" / "raw")
    return root


def avalanche_items(experience, count: int | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """What Avalanche itself gives, as tensors in [0, 1]."""
    from torchvision.transforms.functional import to_tensor

    data = experience.dataset
    items = [data[i] for i in range(len(data) if count is None else count)]
    x = torch.stack([x if isinstance(x, torch.Tensor) else to_tensor(x) for x, *_ in items])
    return x, torch.tensor([int(item[1]) for item in items])


def by_class(x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples class by class, in their order: Avalanche groups them so, ours stay as the files have them."""
    order = y.argsort(stable=True)
    return x[order], y[order]


def assert_equal_to_avalanche(stream: Stream, benchmark) -> None:
    """The stream (without validation data) holds what the benchmark holds, in the same order within each class."""
    for part, avalanche_stream in (("train", benchmark.train_stream), ("test", benchmark.test_stream)):
        assert len(stream) == len(avalanche_stream)
        for ours, theirs in zip(stream.experiences, avalanche_stream, strict=True):
            x, y = by_class(*everything(getattr(ours, part)))
            their_x, their_y = by_class(*avalanche_items(theirs))
            assert torch.equal(y, their_y)
            assert torch.allclose(x, their_x, atol=1e-6)


def flat(stream: Stream) -> list[int]:
    return [label for classes in stream.class_order for label in classes]


# --- the classic benchmarks, against Avalanche's own ---------------------------------------------------------------


@pytest.mark.parametrize("scenario", ["class", "domain"])
def test_split_mnist_equals_avalanche(small_mnist: Path, scenario: str):
    order = [3, 1, 4, 0, 5, 9, 2, 6, 8, 7]
    stream = classic("split_mnist", small_mnist, class_order=order, scenario=scenario, validation=0.0)
    with quiet():
        from avalanche.benchmarks.classic import SplitMNIST

        benchmark = SplitMNIST(
            5,
            fixed_class_order=order,
            train_transform=None,
            eval_transform=None,
            class_ids_from_zero_in_each_exp=scenario == "domain",
            dataset_root=small_mnist,
        )
    assert_equal_to_avalanche(stream, benchmark)
    assert stream.num_classes == (2 if scenario == "domain" else 10)


@pytest.mark.parametrize("seed", [0, 7])
def test_permuted_mnist_equals_avalanche(small_mnist: Path, seed: int):
    stream = classic("permuted_mnist", small_mnist, experiences=3, seed=seed, validation=0.0)
    with quiet():
        from avalanche.benchmarks.classic import PermutedMNIST

        benchmark = PermutedMNIST(3, seed=seed, train_transform=None, eval_transform=None, dataset_root=small_mnist)
    assert_equal_to_avalanche(stream, benchmark)


@pytest.mark.parametrize("angles", [None, [30, -90, 0]])
def test_rotated_mnist_equals_avalanche(small_mnist: Path, angles: list[int] | None):
    stream = classic("rotated_mnist", small_mnist, experiences=3, seed=5, angles=angles, validation=0.0)
    with quiet():
        from avalanche.benchmarks.classic import RotatedMNIST

        benchmark = RotatedMNIST(
            3,
            seed=5,
            rotations_list=angles,
            train_transform=None,
            eval_transform=None,
            dataset_root=small_mnist,
        )
    assert_equal_to_avalanche(stream, benchmark)


def test_split_fmnist_equals_avalanche(tmp_path: Path):
    native_files.write_idx(tmp_path / "FashionMNIST" / "raw")
    stream = classic("split_fmnist", tmp_path, shuffle=False, validation=0.0)
    assert stream.class_names[9] == "ankle boot"
    with quiet():
        from avalanche.benchmarks.classic import SplitFMNIST

        benchmark = SplitFMNIST(5, shuffle=False, train_transform=None, eval_transform=None, dataset_root=tmp_path)
    assert_equal_to_avalanche(stream, benchmark)


@pytest.mark.parametrize(("name", "function"), [("split_cifar10", "SplitCIFAR10"), ("split_cifar100", "SplitCIFAR100")])
@pytest.mark.usefixtures("small_files_pass")
def test_split_cifar_equals_avalanche(tmp_path: Path, name: str, function: str):
    (native_files.write_cifar10 if name == "split_cifar10" else native_files.write_cifar100)(tmp_path)
    stream = classic(name, tmp_path, seed=1, validation=0.0)
    check_stream(stream)
    assert stream.class_names[1] == "thing 1" and stream.sample_shape == (3, 32, 32)
    with quiet():
        import avalanche.benchmarks.classic

        benchmark = getattr(avalanche.benchmarks.classic, function)(
            len(stream),
            fixed_class_order=flat(stream),
            train_transform=None,
            eval_transform=None,
            dataset_root=tmp_path,
        )
    assert_equal_to_avalanche(stream, benchmark)


def test_split_tinyimagenet_equals_avalanche(tmp_path: Path):
    native_files.write_tiny_imagenet(tmp_path)
    stream = classic("split_tinyimagenet", tmp_path, validation=0.0)
    assert len(stream) == 10 and stream.num_classes == 200 and stream.sample_shape == (3, 64, 64)
    with quiet():
        from avalanche.benchmarks.classic import SplitTinyImageNet

        benchmark = SplitTinyImageNet(
            10, fixed_class_order=flat(stream), train_transform=None, eval_transform=None, dataset_root=tmp_path
        )
    for ours, theirs in zip(stream.experiences, benchmark.train_stream, strict=True):
        # Avalanche lists files in the order of the disk, ours are sorted
        x, y = everything(ours.train)
        their_x, their_y = avalanche_items(theirs)
        assert torch.equal(y.sort().values, their_y.sort().values)
        assert {each.numpy().tobytes() for each in (x * 255).round()} == {
            each.numpy().tobytes() for each in (their_x * 255).round()
        }
    small = classic("split_tinyimagenet", tmp_path, size=8, limit_bytes=1000, workers=0)
    assert small.sample_shape == (3, 8, 8) and isinstance(small.experiences[0].train, DatasetSamples)


@pytest.mark.parametrize("above", ["omniglot-py", "omniglot-py/omniglot-py", "omniglot/python", "."])
def test_split_omniglot_is_evaluated_on_its_own_characters(tmp_path: Path, above: str):
    native_files.write_omniglot(tmp_path, above)
    stream = classic("split_omniglot", tmp_path, experiences=2, validation=0.25)
    check_stream(stream)
    assert stream.num_classes == 5 and stream.sample_shape == (1, 105, 105)
    assert stream.class_names[3] == "Beta/character01"
    assert sum(len(e.test) for e in stream.experiences) == 5
    assert classic("split_omniglot", tmp_path, size=28, experiences=1).sample_shape == (1, 28, 28)


def test_core50_equals_avalanche(tmp_path: Path):
    batches = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], *[[i, i + 1, i + 2, i + 3, i + 4] for i in range(10, 50, 5)]]
    native_files.write_core50(tmp_path, "nc", batches)
    stream = classic("core50", tmp_path, validation=0.0)
    check_stream(stream, distinct=False)
    assert stream.class_order == tuple(tuple(batch) for batch in batches) and stream.scenario == "class"
    assert classic("core50", tmp_path, seed=1).class_order == stream.class_order[::-1]
    assert classic("core50", tmp_path, run=1).class_order == stream.class_order[::-1]
    assert len(classic("core50", tmp_path, experiences=2)) == 2
    with quiet():
        import avalanche.benchmarks.classic.core50 as module
        from avalanche.benchmarks.classic import CORe50

        with pytest.MonkeyPatch.context() as patch:
            # the class behind it wants four pickles that the file lists make needless
            patch.setattr(module, "CORe50Dataset", lambda root, mini: type("Data", (), {"root": Path(root)}))
            benchmark = CORe50(
                scenario="nc", mini=True, train_transform=None, eval_transform=None, dataset_root=tmp_path
            )
    read = from_benchmark(benchmark, validation=0.0)
    for ours, theirs, raw in zip(stream.experiences, read.experiences, benchmark.train_stream, strict=True):
        assert torch.allclose(everything(ours.train)[0], avalanche_items(raw)[0], atol=1e-6)
        assert torch.equal(everything(ours.test)[0], everything(theirs.test)[0])


def test_core50_in_new_sessions_is_a_domain_stream(tmp_path: Path):
    native_files.write_core50(tmp_path / "core50", "ni", [[0, 1, 2]] * 8, size=128)
    stream = classic("core50", tmp_path, protocol="ni", mini=False)
    assert stream.scenario == "domain" and len(stream) == 8 and stream.sample_shape == (3, 128, 128)
    assert stream.num_classes == 50 and len(stream.experiences[7].test) == 3
    with pytest.raises(ValueError, match=r"expected protocol to be one of .*'nicv2_79', .*, got 'nicv3_79'"):
        classic("core50", tmp_path, protocol="nicv3_79")
    with pytest.raises(ValueError, match="a run from 0 to 9, got 10"):
        classic("core50", tmp_path, run=10)


# --- options that all have ----------------------------------------------------------------------------------------


def test_seeds_decide_the_class_order_and_nothing_else(small_mnist: Path):
    one, again, other = (classic("split_mnist", small_mnist, seed=seed) for seed in (0, 0, 1))
    check_stream(one)
    assert same(one, again) and one.class_order != other.class_order
    for label in range(10):
        held = [
            everything(e.test)[0][e.test.y == label] for s in (one, other) for e in s.experiences if label in e.classes
        ]
        assert torch.equal(*held)
    assert classic("split_mnist", small_mnist, shuffle=False).class_order == tuple((i, i + 1) for i in range(0, 10, 2))
    assert [len(c) for c in classic("split_mnist", small_mnist, experiences=3).class_order] == [4, 3, 3]


def test_each_look_can_have_classes_of_its_own(small_mnist: Path):
    for scenario in ("class", "task"):
        stream = classic("permuted_mnist", small_mnist, experiences=2, scenario=scenario)
        assert stream.class_order == (tuple(range(10)), tuple(range(10, 20))) and stream.num_classes == 20
        check_stream(stream)
    check_stream(classic("rotated_mnist", small_mnist, experiences=2))


def test_looks_have_the_same_validation_images(small_mnist: Path):
    stream = classic("permuted_mnist", small_mnist, experiences=2)
    ink = [everything(e.validation)[0].flatten(1).sum(1) for e in stream.experiences]
    assert torch.allclose(*ink)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("split_mnst", {}, "no classic benchmark 'split_mnst'; did you mean 'split_mnist'"),
        ("split_mnist", {"experience": 2}, "no option 'experience'; did you mean 'experiences'"),
        ("split_mnist", {"experiences": 11}, "between 1 and 10 experiences"),
        ("split_mnist", {"scenario": "klass"}, "'class', 'domain', 'task', got 'klass'"),
        ("permuted_mnist", {"experiences": 0}, "at least one experience, got 0"),
        ("permuted_mnist", {"scenario": "klass"}, "'class', 'domain', 'task', got 'klass'"),
        ("rotated_mnist", {"angles": [1, 2]}, "5 angles, one per experience, got 2"),
    ],
)
def test_impossible_options_are_one_sentence(small_mnist: Path, name: str, options: dict, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        classic(name, small_mnist, **options)
    assert "\n" not in str(caught.value)


# --- where data lie ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True])
def test_mnist_is_found_packed_or_not_everywhere_it_may_lie(
    tmp_path: Path, packed: bool, monkeypatch, small_mnist: Path
):
    expected = classic("split_mnist", small_mnist)
    for place in ("direct", "above/mnist", "avalanche-home/mnist"):
        native_files.write_idx(tmp_path / place / "MNIST" / "raw", packed=packed)
    before = sorted(tmp_path.rglob("*"))
    assert same(classic("split_mnist", tmp_path / "direct"), expected)
    assert same(classic("split_mnist", tmp_path / "above"), expected)
    assert same(classic("split_mnist"), expected)
    monkeypatch.setenv("DREAMER_DATA", str(tmp_path / "above"))
    assert same(classic("split_mnist"), expected)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", CLASSIC)
def test_absent_data_end_in_one_sentence(tmp_path: Path, name: str):
    with pytest.raises(DataNotFound) as caught:
        classic(name, tmp_path / "deep" / "nowhere")
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert repr(str(tmp_path / "deep" / "nowhere")) in sentence
    assert "its host does not respond: put " in sentence and "data.root or DREAMER_DATA" in sentence
    assert not list(tmp_path.iterdir())
    with pytest.raises(DataNotFound, match=r"avalanche-home.* and downloading is switched off: put "):
        classic(name, download=False)


def _download_half(place: Path) -> None:
    native_files.write_idx(place / "MNIST" / "raw")
    (place / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()


def _download_and_fail(place: Path) -> None:
    _download_half(place)
    raise RuntimeError("the line\nbroke")


@pytest.mark.parametrize(
    ("download", "why"),
    [(_download_half, "its download is incomplete"), (_download_and_fail, r"its download failed \(the line broke\)")],
)
def test_a_failed_download_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, download, why: str):
    monkeypatch.setattr(sources, "reachable", lambda url: True)
    source = _source(download)
    with pytest.raises(DataNotFound, match=why):
        sources.locate(source, tmp_path / "new" / "root")
    assert not list(tmp_path.iterdir())


def test_a_download_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sources, "reachable", lambda url: True)
    source = _source(lambda place: native_files.write_idx(place / "MNIST" / "raw", packed=True))
    assert sources.locate(source, tmp_path / "new") == tmp_path / "new"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    check_stream(classic("split_mnist", tmp_path / "new"))


def _source(download) -> sources.Source:
    def present(place: Path) -> bool:
        return len(list((place / "MNIST" / "raw").glob("*ubyte*"))) == 4

    return sources.Source("MNIST", "mnist", "its files", "http://localhost", present, download)


def test_a_host_that_cannot_be_reached_is_given_up_soon(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.undo()
    monkeypatch.setattr(sources, "_PATIENCE", 0.05)
    monkeypatch.setattr(sources.urllib.request, "urlopen", lambda *_, **__: time.sleep(1) or io.BytesIO())
    assert sources.reachable("http://localhost") is False

    def refuse(*_, **__):
        raise OSError("no route")

    monkeypatch.setattr(sources.urllib.request, "urlopen", refuse)
    assert sources.reachable("http://localhost") is False
    monkeypatch.setattr(sources, "_PATIENCE", 5.0)
    monkeypatch.setattr(sources.urllib.request, "urlopen", lambda *_, **__: io.BytesIO())
    assert sources.reachable("http://localhost") is True


def test_damaged_files_are_named(tmp_path: Path):
    native_files.write_idx(tmp_path / "MNIST" / "raw")
    damaged = tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte"
    damaged.write_bytes(damaged.read_bytes()[:-5])
    with pytest.raises(ValueError, match=r"cannot read '.*train-images-idx3-ubyte' as an IDX file"):
        classic("split_mnist", tmp_path)
    native_files.write_cifar10(tmp_path)
    with pytest.raises(DataNotFound, match=r"CIFAR10 in .* is damaged or incomplete"):
        classic("split_cifar10", tmp_path)


# --- benchmark objects ---------------------------------------------------------------------------------------------


def _benchmark(root: Path, **options):
    with quiet():
        from avalanche.benchmarks.classic import SplitMNIST

        return SplitMNIST(5, seed=3, dataset_root=root, **options)


def test_a_class_incremental_benchmark_without_its_normalisation(small_mnist: Path):
    benchmark = _benchmark(small_mnist)
    before = avalanche_items(benchmark.train_stream[0], 3)[0]
    stream = from_benchmark(benchmark, validation=0.2)
    check_stream(stream)
    assert stream.scenario == "class" and stream.num_classes == 10
    assert [set(c) for c in stream.class_order] == [set(e.classes_in_this_experience) for e in benchmark.train_stream]
    assert before.min() < -0.4 and torch.equal(avalanche_items(benchmark.train_stream[0], 3)[0], before)
    normalised = from_benchmark(benchmark, transforms=True, validation=0.0)
    assert torch.allclose(everything(normalised.experiences[0].train)[0][:3], before, atol=1e-5)
    raw = from_benchmark(_benchmark(small_mnist, train_transform=None, eval_transform=None), validation=0.2)
    assert same(stream, raw)


def test_a_benchmark_that_does_not_fit_is_read_batch_by_batch(small_mnist: Path):
    lazy = from_benchmark(_benchmark(small_mnist), limit_bytes=100)
    assert isinstance(lazy.experiences[0].train, DatasetSamples)
    assert same(lazy, from_benchmark(_benchmark(small_mnist)))


def test_task_incremental_benchmarks_keep_their_heads_apart(small_mnist: Path):
    task = from_benchmark(_benchmark(small_mnist, return_task_id=True, class_ids_from_zero_in_each_exp=True))
    assert task.scenario == "task"
    assert task.class_order == ((0, 1), (2, 3), (4, 5), (6, 7), (8, 9))
    check_stream(task)
    shared = from_benchmark(_benchmark(small_mnist, class_ids_from_zero_in_each_exp=True))
    assert shared.scenario == "domain" and shared.num_classes == 2
    own = from_benchmark(_benchmark(small_mnist, return_task_id=True))
    assert own.scenario == "task" and sorted(flat(own)) == list(range(10))
    assert from_benchmark(_benchmark(small_mnist, return_task_id=True), scenario="class").scenario == "class"


def test_frozen_transforms_of_a_domain_incremental_benchmark_stay(small_mnist: Path):
    with quiet():
        from avalanche.benchmarks.classic import PermutedMNIST

        benchmark = PermutedMNIST(2, seed=4, dataset_root=small_mnist)
    stream = from_benchmark(benchmark, validation=0.0)
    assert stream.scenario == "domain"
    check_stream(stream)
    ours = classic("permuted_mnist", small_mnist, experiences=2, seed=4, validation=0.0)
    for one, other in zip(stream.experiences, ours.experiences, strict=True):
        assert torch.allclose(everything(one.train)[0], by_class(*everything(other.train))[0], atol=1e-6)


def test_online_streams_are_evaluated_where_they_come_from(small_mnist: Path):
    benchmark = _benchmark(small_mnist)
    with quiet():
        from avalanche.benchmarks.scenarios.online import split_online_stream

        online = split_online_stream(benchmark.train_stream, experience_size=4, seed=0)
    pieces = type("Online", (), {"train_stream": online, "test_stream": benchmark.test_stream})()
    stream = from_benchmark(pieces, validation=0.0)
    assert stream.scenario == "class" and len(stream) == 15
    assert all(len(e.train) == 4 for e in stream.experiences)
    whole = from_benchmark(benchmark, validation=0.0)
    for i, experience in enumerate(stream.experiences):
        assert torch.equal(everything(experience.test)[0], everything(whole.experiences[i // 3].test)[0])
        assert set(experience.classes) <= set(whole.experiences[i // 3].classes)


def test_pieces_of_avalanches_online_streams_count_once(small_mnist: Path):
    benchmark = _benchmark(small_mnist)
    with quiet():
        from avalanche.benchmarks.scenarios.online import split_online_stream

        online = split_online_stream(benchmark.train_stream, experience_size=4, seed=0)
    pieces = type("Online", (), {"train_stream": online, "test_stream": benchmark.test_stream})()
    stream = from_benchmark(pieces, validation=0.5)
    assert stream.origins == tuple(i for i in range(5) for _ in range(3))
    held = [experience.validation for experience in stream.experiences]
    for i in range(5):
        first, *others = held[3 * i : 3 * i + 3]
        assert all(other is first for other in others), "what was held out of the pieces is one"
        # 12 images in pieces of 4: what is left of a class in a piece decides how many are held out
        assert len(first) + sum(len(each.train) for each in stream.experiences[3 * i : 3 * i + 3]) == 12


def test_a_blurry_stream_is_evaluated_on_the_classes_of_most_of_each_piece(small_mnist: Path):
    benchmark = _benchmark(small_mnist)
    with quiet():
        from avalanche.benchmarks.scenarios.online import split_continuous_linear_decay_stream

        torch.manual_seed(0)
        decaying = split_continuous_linear_decay_stream(benchmark.train_stream, 8, 4, beta=3, shuffle=True)
    pieces = type("Blurry", (), {"train_stream": decaying, "test_stream": benchmark.test_stream})()
    stream = from_benchmark(pieces, validation=0.0)
    assert len(stream) == 20 and stream.scenario == "class" and set(stream.origins) == set(range(5))
    whole = from_benchmark(benchmark, validation=0.0)
    leaks = 0
    for experience, origin in zip(stream.experiences, stream.origins, strict=True):
        y = everything(experience.train)[1]
        own = torch.isin(y, torch.tensor(whole.experiences[origin].classes))
        assert int(own.sum()) >= len(y) / 2
        leaks += int((~own).sum())
        assert torch.equal(everything(experience.test)[0], everything(whole.experiences[origin].test)[0])
    assert leaks > 5


def test_classes_that_return_keep_their_numbers(small_mnist: Path):
    """A benchmark with repetition, as the experiences that a generator of such streams would give."""
    x, y = torch.rand(60, 3), torch.arange(60) % 4
    with quiet():
        from avalanche.benchmarks import benchmark_from_datasets
        from avalanche.benchmarks.utils import as_classification_dataset

        def wrap(*labels: int):
            chosen = torch.isin(y, torch.tensor(labels))
            data = TensorDataset(x[chosen], y[chosen])
            data.targets = y[chosen].tolist()
            return as_classification_dataset(data)

        orders = ((0, 1), (1, 2), (0, 3), (2, 3))
        benchmark = benchmark_from_datasets(train=[wrap(*pair) for pair in orders], test=[wrap(0, 1, 2, 3)])
    stream = from_benchmark(benchmark, validation=0.0)
    assert stream.class_order == orders and stream.scenario == "class" and stream.num_classes == 4
    assert [set(each.test.y.tolist()) for each in stream.experiences] == [set(pair) for pair in orders]


def test_one_test_experience_serves_all(small_mnist: Path):
    x, y = torch.rand(40, 3), torch.arange(40) % 4
    with quiet():
        from avalanche.benchmarks import benchmark_from_datasets
        from avalanche.benchmarks.utils import AvalancheDataset, as_classification_dataset

        def wrap(chosen: torch.Tensor) -> AvalancheDataset:
            data = TensorDataset(x[chosen], y[chosen])
            data.targets = y[chosen].tolist()
            return as_classification_dataset(data)

        benchmark = benchmark_from_datasets(train=[wrap(y < 2), wrap(y >= 2)], test=[wrap(y >= 0)])
    stream = from_benchmark(benchmark, validation=0.0)
    assert [set(e.test.y.tolist()) for e in stream.experiences] == [{0, 1}, {2, 3}]
    assert torch.equal(everything(stream.experiences[1].train)[0], x[y >= 2])


def test_what_is_no_benchmark_is_refused():
    with pytest.raises(ValueError, match="expected an Avalanche benchmark with a train_stream, got list"):
        from_benchmark([])


# --- Avalanche kept at the door ------------------------------------------------------------------------------------


def test_a_patch_that_the_user_brought_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "avalanche", sys.modules.get("avalanche", contextlib))
    patched = Dataset.__add__
    with quiet():
        print("unheard")
    assert Dataset.__add__ is patched


# --- by name -------------------------------------------------------------------------------------------------------


def test_every_stream_has_a_line_and_a_signature():
    lines = available()
    assert list(lines)[:4] == ["arithmetic", "diabetes", "digits", "folder"] and set(CLASSIC) < set(lines)
    for name, line in lines.items():
        assert line
        parameters = signature(name).parameters
        # the order of patients is that of their covariate, and the order of texts is given
        assert "seed" in parameters or name in ("diabetes", "text")
        needed = [key for key, each in parameters.items() if each.default is inspect.Parameter.empty]
        assert needed == (["file"] if name == "table" else [])
    assert signature("split_omniglot").parameters["size"].default is None


def test_build_hands_on_what_a_stream_takes(small_mnist: Path):
    assert same(build("digits", root="/nowhere", seed=3), build("digits", seed=3))
    assert same(build("split_mnist", root=small_mnist, seed=3), classic("split_mnist", small_mnist, seed=3))
    assert len(build("split_mnist", root=small_mnist, experiences=2)) == 2
    assert same(build("dreamer.streams.digits.digits", seed=1), build("digits", seed=1))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("digit", {}, "no stream 'digit'; did you mean 'digits'"),
        ("digits", {"expriences": 2}, "no option 'expriences'; did you mean 'experiences'"),
        ("split_cifar10", {"sed": 2}, "no option 'sed'; did you mean 'seed'"),
        ("no.such.module", {}, "no stream 'no.such.module': No module named 'no'"),
    ],
)
def test_unknown_names_and_options(name: str, options: dict, message: str):
    with pytest.raises(ValueError, match=message):
        build(name, **options)


# --- real data -----------------------------------------------------------------------------------------------------


def test_real_split_mnist(data_root: Path):
    stream = classic("split_mnist", data_root, seed=11)
    total = [sum(len(getattr(e, part)) for e in stream.experiences) for part in ("train", "validation", "test")]
    assert sum(total[:2]) == 60_000 and total[2] == 10_000 and abs(total[1] - 6_000) < 10
    mean = sum(float(everything(e.train)[0].mean()) * len(e.train) for e in stream.experiences) / total[0]
    assert mean == pytest.approx(0.1307, abs=5e-4)  # the mean that everybody normalises MNIST with
    assert flat(stream) != flat(classic("split_mnist", data_root, seed=12))
