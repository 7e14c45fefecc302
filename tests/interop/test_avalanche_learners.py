"""A DreamPlugin beside other plugins and strategies of Avalanche, and with learners that Avalanche adapts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from dreamer.interop.avalanche.benchmarks import quiet
from dreamer.interop.avalanche.plugin import DreamPlugin
from dreamer.memory import ClassBalanced, Herding, Reservoir
from dreamer.networks import MLP
from dreamer.stages import NREM, Wake
from dreamer.streams.base import Stream, TensorSamples
from tests.helpers.tiny_runs import tiny_stream
from tests.interop.test_avalanche_plugin import benchmark_of, dataset, naive, plugin_for, train, weights

with quiet():
    from avalanche.benchmarks import benchmark_from_datasets, with_classes_timeline, with_task_labels
    from avalanche.benchmarks.utils.classification_dataset import _as_taskaware_supervised_classification_dataset
    from avalanche.core import SupervisedPlugin
    from avalanche.models import IncrementalClassifier, MultiHeadClassifier, MultiTaskModule
    from avalanche.training.plugins import MIRPlugin, ReplayPlugin
    from avalanche.training.supervised import DER, ICaRL, StreamingLDA


class Heads(MultiTaskModule):
    """A trunk that all tasks have in common, and a head for each."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU())
        self.head = MultiHeadClassifier(32, 2, masking=False)

    def forward(self, x: torch.Tensor, task_labels: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(x), task_labels)


def tasks(stream: Stream) -> Any:
    """Three tasks on the same samples, with labels 0 and 1: the second one's are those of the others, swapped."""
    first = stream.experiences[0]

    def of(samples: Any, task: int) -> Any:
        return dataset(TensorSamples(samples.x, (samples.y + task) % 2), task)

    with quiet():
        sets = {name: [of(getattr(first, name), task) for task in range(3)] for name in ("train", "test")}
        return with_task_labels(with_classes_timeline(benchmark_from_datasets(**sets)))


def test_each_dream_goes_through_the_head_of_its_task() -> None:
    """With another head, the labels of a dream would contradict those of the day."""
    torch.manual_seed(3)
    network, stream = Heads(), tiny_stream(per_class=40)
    plugin = DreamPlugin(Reservoir(60), wake_replay=16, night=[NREM(60, 16, steps_per_dream=3)])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    strategy, benchmark = naive(stream, [plugin], network, optimizer=optimizer, train_epochs=6), tasks(stream)
    for experience in benchmark.train_stream:
        train(strategy, experience)
    with quiet():
        found = strategy.eval(benchmark.test_stream)
    assert [found[f"Top1_Acc_Exp/eval_phase/test_stream/Task00{i}/Exp00{i}"] for i in range(3)] == [1.0] * 3
    drawn = plugin.memory.draw(60, torch.Generator().manual_seed(0))
    assert drawn.fields["task"].unique().tolist() == [0, 1, 2]


@pytest.mark.parametrize("classes_known", [True, False])
def test_a_head_that_grows_has_the_outputs_that_there_are(classes_known: bool) -> None:
    stream = tiny_stream()
    growing = nn.Sequential(nn.Flatten(), IncrementalClassifier(16, 6 if classes_known else 2, masking=False))
    plugin = DreamPlugin(ClassBalanced(12), wake_replay=4, night=[NREM(3, 8)])
    train(naive(stream, [plugin], growing), benchmark_of(stream).train_stream)
    assert plugin._old_classes.tolist() == [True] * 6
    assert plugin._sleeper is not None and plugin._sleeper.dusk is not None
    assert plugin._sleeper.dusk(torch.rand(2, 1, 4, 4)).shape == (2, 6)


def test_one_head_learns_a_benchmark_with_task_labels() -> None:
    def learnt(task_labels: bool) -> torch.Tensor:
        stream = tiny_stream()
        strategy = naive(stream, [plugin_for(stream)])
        train(strategy, benchmark_of(stream, task_labels=task_labels).train_stream[0])
        return weights(strategy.model)

    torch.manual_seed(0)
    one = learnt(True)
    torch.manual_seed(0)
    assert torch.equal(one, learnt(False))


class Watching(SupervisedPlugin):
    """Adds to the loss what a forward hook sees, beside the strategy's own output."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[tuple[int, int]] = []
        self.output: Any = None

    def before_training(self, strategy: Any, **kwargs: Any) -> None:
        strategy.model.register_forward_hook(self._see)

    def before_backward(self, strategy: Any, **kwargs: Any) -> None:
        self.sizes.append((len(self.output), len(strategy.mb_y)))
        strategy.loss += (self.output - strategy.mb_output).square().mean()

    def _see(self, module: nn.Module, given: Any, output: torch.Tensor) -> None:
        self.output = output


def test_plugins_with_forward_hooks_see_the_strategys_own_batch() -> None:
    def learnt(*plugins: Any) -> torch.Tensor:
        torch.manual_seed(0)
        stream = tiny_stream(experiences=2)
        network = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
        dreaming = DreamPlugin(ClassBalanced(10), wake_replay=8, night=[])
        strategy = naive(stream, [*plugins, dreaming], network)
        train(strategy, benchmark_of(stream).train_stream)
        assert dreaming.samples["replayed"] > 0
        return weights(network)

    watching = Watching()
    assert torch.allclose(learnt(watching), learnt(), atol=1e-6)
    assert watching.sizes and all(seen == own for seen, own in watching.sizes)


class Keeping(nn.Module):
    """A learner that keeps the features of its last call, as Avalanche's FeatureExtractorModel does."""

    features: Any = None

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Flatten(), nn.Linear(16, 8)), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.features = self.body(x)
        output: torch.Tensor = self.head(self.features)
        return output


def test_learners_that_keep_their_features_keep_those_of_the_strategys_own_batch() -> None:
    class Distilling(SupervisedPlugin):
        """Looks at the features, as Avalanche's FeatureDistillationPlugin."""

        def before_backward(self, strategy: Any, **kwargs: Any) -> None:
            assert torch.equal(strategy.model.features, strategy.model.body(strategy.mb_x))

    stream, network = tiny_stream(experiences=2), Keeping()
    dreaming = DreamPlugin(ClassBalanced(10), wake_replay=8, night=[NREM(2, batch_size=4)])
    train(naive(stream, [Distilling(), dreaming], network), benchmark_of(stream).train_stream)
    assert dreaming.samples["replayed"] > 0


def test_beside_a_replay_plugin_the_memory_is_offered_the_days_samples() -> None:
    class Offered(Reservoir):
        count = 0

        def add(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> None:
            self.count += len(x)
            super().add(x, *args, **kwargs)

    stream, memory = tiny_stream(), Offered(20)
    strategy = naive(stream, [ReplayPlugin(10), DreamPlugin(memory, wake_replay=4, night=[NREM(2, 4)])])
    train(strategy, benchmark_of(stream).train_stream)
    assert memory.count == sum(len(each.train) for each in stream.experiences)


def test_what_else_a_benchmark_gives_travels_with_its_sample() -> None:
    """Every sample has a number that is its own first pixel; a model that reads it can tell."""
    stream, seen, entered = tiny_stream(experiences=2), [], []

    def numbered(samples: Any) -> Any:
        data = TensorDataset(samples.x, samples.y, samples.x[:, 0, 0, 0])
        data.targets = samples.y.tolist()
        return _as_taskaware_supervised_classification_dataset(data, task_labels=[0] * len(samples))

    class Reading(SupervisedPlugin):
        def after_forward(self, strategy: Any, **kwargs: Any) -> None:
            seen.append(tuple(map(len, strategy.mbatch)))

        def before_forward(self, strategy: Any, **kwargs: Any) -> None:
            x, _, number, _ = strategy.mbatch
            entered.append(len(x))
            assert torch.equal(x[:, 0, 0, 0], number)

    with quiet():
        sets = {name: [numbered(getattr(e, name)) for e in stream.experiences] for name in ("train", "test")}
        benchmark = with_task_labels(with_classes_timeline(benchmark_from_datasets(**sets)))
    memory = ClassBalanced(10)
    strategy = naive(stream, [DreamPlugin(memory, wake_replay=8, night=[NREM(2, 4)]), Reading()])
    train(strategy, benchmark.train_stream)
    drawn = memory.draw(10, torch.Generator().manual_seed(0))
    assert torch.equal(drawn.fields["2"], drawn.x[:, 0, 0, 0])
    assert max(entered) == 9 + 8
    # when others look, the batch is the strategy's own again
    assert all(len(set(sizes)) == 1 for sizes in seen)


# ------------------------------------------------------------------ what is refused


def lda(stream: Stream, plugin: DreamPlugin) -> Any:
    return StreamingLDA(
        slda_model=nn.Flatten(), criterion=nn.CrossEntropyLoss(), input_size=16, num_classes=6, plugins=[plugin],
        evaluator=None, train_mb_size=9,
    )  # fmt: skip


def icarl(stream: Stream, plugin: DreamPlugin) -> Any:
    features, classifier = nn.Sequential(nn.Flatten(), nn.Linear(16, 8)), nn.Linear(8, 6)
    optimizer = torch.optim.SGD([*features.parameters(), *classifier.parameters()], lr=0.1)
    return ICaRL(
        feature_extractor=features, classifier=classifier, optimizer=optimizer, memory_size=20, buffer_transform=None,
        fixed_memory=True, plugins=[plugin], evaluator=None, train_mb_size=9,
    )  # fmt: skip


def der(stream: Stream, plugin: DreamPlugin) -> Any:
    network = MLP(stream.sample_shape, 6)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    return DER(
        model=network, optimizer=optimizer, criterion=nn.CrossEntropyLoss(), mem_size=20, batch_size_mem=9,
        plugins=[plugin], evaluator=None, train_mb_size=9,
    )  # fmt: skip


def mir(stream: Stream, plugin: DreamPlugin) -> Any:
    return naive(stream, [MIRPlugin(10, 5, 9), plugin])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lda, "StreamingLDA makes no optimizer steps"),
        (icarl, "ICaRL trains one classifier and evaluates another"),
        (der, "DER mixes old samples into the strategy's batches"),
        (mir, "MIRPlugin mixes old samples into the strategy's batches"),
    ],
)
def test_what_a_night_cannot_follow_is_refused(make: Callable[..., Any], message: str) -> None:
    stream = tiny_stream(experiences=2)
    with quiet():
        strategy = make(stream, DreamPlugin(ClassBalanced(9)))
    with pytest.raises(ValueError, match=message):
        train(strategy, benchmark_of(stream).train_stream[0])


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({}, "a generator's dreams have no task: expected a memory"),
        ({"generator": None, "memory": Herding(9)}, "expected a memory of samples that chooses while awake"),
    ],
)
def test_heads_need_a_memory_of_samples(parts: dict[str, Any], message: str) -> None:
    stream = tiny_stream()
    plugin = plugin_for(stream, night=[NREM(2, 4)], **parts)
    with pytest.raises(ValueError, match=message):
        train(naive(stream, [plugin], Heads()), tasks(stream).train_stream[0])


def test_a_learner_of_ones_own_that_grows_is_refused() -> None:
    class Growing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(16, 6)
            self.calls = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x.flatten(1))[:, : 4 if self.training or not self.calls else 6]

    stream, network = tiny_stream(), Growing()
    strategy = naive(stream, [DreamPlugin(ClassBalanced(3), wake_replay=Wake(replay=0), night=[])], network)
    experiences = benchmark_of(stream).train_stream
    train(strategy, experiences[0])
    network.calls = 1
    with pytest.raises(ValueError, match="outputs have changed from 4 to 6"):
        train(strategy, experiences[1])
