"""The wake-sleep cycle without Lightning: a plain loop drives it to the same weights."""

from __future__ import annotations

import functools
import inspect
import itertools
import math
from dataclasses import replace

import pytest
import pytorch_lightning as pl
import torch

from dreamer.core.randomness import Purpose, mix, seed_global
from dreamer.core.types import Step
from dreamer.generators import VAE
from dreamer.loop.batches import RankInfo, seen_batches, steps_per_pass
from dreamer.loop.plan import classes_at, plan_run, seen_classes, training_samples
from dreamer.loop.sleeper import Sleeper, restore_rates
from dreamer.memory import Reservoir
from dreamer.networks.base import move_towards
from dreamer.objectives import HardTargets, LogitMatching
from dreamer.plasticity import MovingAverage, SynapticIntelligence
from dreamer.schedules import EveryNSteps
from dreamer.stages import NREM, REM, Wake
from dreamer.streams import Stream
from dreamer.training.module import WakeSleepModule
from tests.helpers.tiny_runs import tiny_module, tiny_stream, train

CPU = torch.device("cpu")


def built(stream: Stream, **changes: object) -> WakeSleepModule:
    plasticity = [SynapticIntelligence(), MovingAverage(rate=0.5)]
    return tiny_module(stream, plasticity=plasticity, night=[NREM(2, 8, anneal=0.1), REM(3, 8)], **changes)


def sleeper_for(module: WakeSleepModule) -> Sleeper:
    """One of its own; the parts have been attached when the module was made."""
    sleeper = Sleeper(module.parts, RankInfo(module.seed, CPU))
    sleeper.make_teachers()
    return sleeper


def drive(module: WakeSleepModule, stream: Stream) -> Sleeper:
    """The whole cycle, as the docstring of the sleeper has it."""
    sleeper, parts, optimizer = sleeper_for(module), module.parts, module.configure_optimizers()
    plan = plan_run(stream, parts, cycles=1)
    for stage in plan:
        if stage.opens:
            sleeper.begin_experience(stage, seen_classes(stream, stage.experience, parts.wake))
        sleeper.enter(stage, classes_at(stream, stage.experience, "all"))
        samples = training_samples(stream, stage.experience, parts.wake)
        for step in sleeper.steps(samples if stage.kind == "wake" else None):
            seed_global(mix(module.seed, Purpose.NETWORK, stage.index, step.step, 0), CPU)
            sleeper.anneal(optimizer, step.step)
            loss = sleeper.train_step(step, sleeper.offered(step)).total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            sleeper.after_step()
        if stage.kind == "wake":
            plan = sleeper.decide(plan, stage)
            info, size = sleeper.info, parts.wake.batch_size
            own, everywhere = (seen_batches(stage, size, samples, info) for _ in range(2))
            sleeper.end_day(stage, own, everywhere)
        sleeper.ledger.close(stage.kind, stage.steps)
    return sleeper


def test_a_plain_loop_ends_where_the_module_does() -> None:
    stream = tiny_stream()
    module, driven = built(stream), built(stream)
    train(module, stream)
    sleeper = drive(driven, stream)
    theirs, ours = module.state_dict(), driven.state_dict()
    same = [name for name in theirs if not name.startswith(("dawn.", "dusk."))]
    assert same and all(torch.equal(ours[name], theirs[name]) for name in same)
    for teacher in ("dawn", "dusk"):
        pair = zip(getattr(sleeper, teacher).parameters(), getattr(module, teacher).parameters(), strict=True)
        assert all(torch.equal(one, two) for one, two in pair)
    assert sleeper.ledger.samples == module.ledger.samples
    assert sleeper.ledger.optimizer_steps == module.ledger.optimizer_steps
    assert sleeper.bytes() == module.bytes()


def night_steps(sleeper: Sleeper, stream: Stream, spec: NREM | REM) -> list[Step]:
    """All steps of the first stage of a night behind the first experience, as the loader draws them."""
    plan = plan_run(stream, sleeper.parts, cycles=1)
    stage = next(stage for stage in plan if stage.kind == spec.kind)
    sleeper.enter(stage, classes_at(stream, 0, "all"))
    return list(itertools.chain(sleeper.steps()))


def test_teachers_are_called_in_the_step_and_once_for_all_dreams_of_a_block() -> None:
    stream = tiny_stream()
    module = tiny_module(stream, generator=None, night=[NREM(5, 4, steps_per_dream=2)], wake=Wake(batch_size=9))
    train(module, stream, max_steps=2)
    sleeper = module.sleeper
    sizes: list[int] = []
    sleeper.dusk.register_forward_hook(lambda part, inputs, output: sizes.append(len(inputs[0])))
    steps = night_steps(sleeper, stream, module.night[0])
    assert [step.dream.teacher for step in steps] == [None] * 5 and not sizes, "the loader draws, and calls no teacher"
    for step in steps:
        sleeper.train_step(step)
    assert sizes == [8, 8, 4], "two steps at once, and the last one alone"
    assert steps[0].block is steps[1].block and steps[1].block.at(1).teacher is not None


def test_learning_rates_are_put_back_for_whoever_goes_on() -> None:
    stream = tiny_stream()
    module = built(stream)
    optimizer = module.configure_optimizers()
    rates = [group["lr"] for group in optimizer.param_groups]
    sleeper = sleeper_for(module)
    stage = next(stage for stage in plan_run(stream, module.parts, cycles=1) if stage.kind == "nrem")
    sleeper.enter(stage, classes_at(stream, 0, "all"))
    sleeper.anneal(optimizer, 1)
    assert all(group["lr"] < rate for group, rate in zip(optimizer.param_groups, rates, strict=True))
    restore_rates(optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == rates
    assert not any("full_lr" in group for group in optimizer.param_groups)


def test_a_stage_scales_the_learning_rates_and_the_next_one_has_the_full_ones() -> None:
    stream = tiny_stream()
    wake = Wake(epochs=2, batch_size=9, replay=8, lr_scale=[1.0, 0.25])
    module = tiny_module(stream, wake=wake, night=[NREM(2, 8, lr_scale=3.0, anneal=0.5), REM(3, 8)])
    optimizer = module.configure_optimizers()
    rates = [group["lr"] for group in optimizer.param_groups]
    sleeper = sleeper_for(module)
    plan = plan_run(stream, module.parts, cycles=1)
    factors = {"nrem": [3.0] * 3, "rem": [1.0] * 3, "wake": [1.0, 0.25, 0.25]}
    for stage in plan:
        sleeper.enter(stage, classes_at(stream, stage.experience, "all"))
        sleeper.anneal(optimizer, 0)
        expected = [factors[stage.kind][stage.experience] * rate for rate in rates]
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx(expected)


@pytest.mark.parametrize("back", [0.0, 0.5, 1.0])
def test_a_night_begins_as_far_back_towards_dawn_as_it_says(back: float) -> None:
    stream = tiny_stream()
    # so slow that the night leaves the weights where it began
    module = tiny_module(stream, night=[NREM(2, 8, lr_scale=1e-9, from_dawn=back)])
    dawn, dusk, begun = {}, {}, {}

    class Watch(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            stage = module.hypnogram[trainer.current_epoch]
            weights = {name: value.clone() for name, value in module.network.state_dict().items()}
            (dusk if stage.kind == "wake" else begun)[stage.experience] = weights
            if stage.kind != "wake":
                dawn[stage.experience + 1] = weights

    train(module, stream, callbacks=[Watch()])
    assert len(begun) > 1
    for experience, weights in begun.items():
        for name, value in weights.items():
            expected = dusk[experience][name]
            if experience:
                expected = torch.lerp(expected, dawn[experience][name], back)
            assert torch.allclose(value, expected, atol=1e-6)


def test_further_nights_of_an_experience_do_not_go_back() -> None:
    stream = tiny_stream()
    night = [NREM(2, 8, lr_scale=1e-9, from_dawn=1.0)]
    module = tiny_module(stream, wake=Wake(steps=6, batch_size=9), night=night, schedule=EveryNSteps(2))
    moved = []

    class Watch(pl.Callback):
        def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.before = torch.cat([weight.detach().flatten() for weight in module.network.parameters()])

        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            stage = module.hypnogram[trainer.current_epoch]
            after = torch.cat([weight.detach().flatten() for weight in module.network.parameters()])
            if stage.kind != "wake" and stage.experience:
                moved.append(
                    (module.hypnogram.is_first_night(stage), not torch.allclose(after, self.before, atol=1e-6))
                )

    train(module, stream, callbacks=[Watch()])
    assert {first for first, _ in moved} == {True, False}
    assert all(first == went for first, went in moved)


def test_outputs_that_came_after_dawn_stay() -> None:
    network, dawn = torch.nn.Linear(2, 3), torch.nn.Linear(2, 2)
    new = network.weight[2].clone()
    move_towards(network, dawn, 1.0)
    assert torch.equal(network.weight[:2], dawn.weight) and torch.equal(network.weight[2], new)


def test_a_stage_warms_up_linearly_under_its_cosine_and_the_next_one_starts_with_all() -> None:
    stream = tiny_stream()
    module = tiny_module(stream, wake=Wake(epochs=2, batch_size=9, warmup=4), night=[NREM(6, 8, warmup=2, anneal=0.5)])
    optimizer = module.configure_optimizers()
    (full,) = {group["lr"] for group in optimizer.param_groups}
    sleeper = sleeper_for(module)
    rates = []
    for stage in plan_run(stream, module.parts, cycles=1)[:2]:
        sleeper.enter(stage, classes_at(stream, stage.experience, "all"))
        for step in range(6):
            sleeper.anneal(optimizer, step)
            rates.append(optimizer.param_groups[0]["lr"] / full)
    cosine = [0.75 + 0.25 * math.cos(math.pi * step / 6) for step in range(6)]
    assert rates == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, cosine[0] / 2, *cosine[1:]])


def dark(stream: Stream, memory: Reservoir, epochs: int, lr: float = 1e-2, **changes: object) -> WakeSleepModule:
    """Dark experience replay ++ without nights."""
    objectives = (LogitMatching(weight=0.1), HardTargets(weight=0.5)) if memory.logits else (HardTargets(),)
    wake = Wake(epochs=epochs, batch_size=9, replay=8, replay_weight=1.0, replay_objectives=objectives)
    parts = {"wake": wake, "memory": memory, "generator": None, "night": [], "optimizer": adam(lr)} | changes
    module = tiny_module(stream, **parts)
    train(module, stream)
    return module


def adam(lr: float) -> functools.partial[torch.optim.Adam]:
    return functools.partial(torch.optim.Adam, lr=lr)


def sure_of_labels(module: WakeSleepModule) -> float:
    """Mean stored probability of the label."""
    held = module.memory.state_dict()["held"]
    return float(held["logits"].softmax(dim=1).gather(1, held["y"][:, None]).mean())


def test_after_ten_passes_the_stored_logits_are_of_a_learner_that_knows_the_samples() -> None:
    stream = tiny_stream(per_class=60)
    assert sure_of_labels(dark(stream, Reservoir(20, logits=True), epochs=10)) > 0.5
    first = dark(stream, Reservoir(20, logits=True, every_pass=False), epochs=10)
    assert sure_of_labels(first) < 0.5, "those of the first pass are of one that does not"


def test_in_one_pass_it_makes_no_difference_whether_every_pass_is_offered() -> None:
    stream = tiny_stream()
    every, first = (dark(stream, Reservoir(20, logits=True, every_pass=each), epochs=1) for each in (True, False))
    ours, theirs = every.memory.state_dict(), first.memory.state_dict()
    assert ours["offered"] == theirs["offered"] == sum(len(each.train) for each in stream.experiences)
    assert all(torch.equal(ours["held"][name], theirs["held"][name]) for name in ("x", "y", "logits"))
    assert all(map(torch.equal, every.state_dict().values(), first.state_dict().values()))


@pytest.mark.parametrize(("logits", "passes"), [(False, 1), (True, 3)])
@pytest.mark.parametrize("nights", [{}, {"schedule": EveryNSteps(2, at_end=False), "night": [NREM(1, 4)]}])
def test_every_pass_is_offered_once_wherever_nights_cut_it(
    logits: bool, passes: int, nights: dict[str, object]
) -> None:
    stream = tiny_stream()
    module = dark(stream, Reservoir(20, logits=logits), epochs=3, **nights)
    assert (module.hypnogram.nights > 3) == bool(nights)
    assert module.memory.offered == passes * sum(len(each.train) for each in stream.experiences)


@pytest.mark.parametrize(("every_pass", "passes"), [(False, 1), (True, 3)])
def test_what_fills_up_the_last_batch_of_a_process_is_not_offered(every_pass: bool, passes: int) -> None:
    stream = tiny_stream()
    module = tiny_module(
        stream, wake=Wake(epochs=3, batch_size=4), memory=Reservoir(9, every_pass=every_pass), night=[]
    )
    stage = plan_run(stream, module.parts, cycles=1)[0]
    samples = training_samples(stream, 0, module.parts.wake)
    count = len(samples)
    offered = 0
    for rank in range(4):
        info = RankInfo(0, CPU, rank, 4)
        steps = 3 * steps_per_pass(count, 4, info)
        sleeper = Sleeper(module.parts, info)
        sleeper.enter(replace(stage, steps=steps), classes_at(stream, 0, "all"))
        offered += sum(sleeper.offered(step) for step in sleeper.steps(samples))
    assert count % 4 and offered == passes * count


class Noting(VAE):
    """Notes how many experiences it is given."""

    noted: list[int | None]

    def loss(self, *args: object, **kwargs: object) -> torch.Tensor | None:
        self.noted.append(inspect.signature(VAE.loss).bind(self, *args, **kwargs).arguments.get("experiences_seen"))
        return super().loss(*args, **kwargs)


def test_the_generator_counts_the_experiences_as_the_learner_does_whatever_the_nights() -> None:
    stream = tiny_stream()
    generator = Noting(stream.sample_shape, stream.num_classes, 3, (8,), continual="rehearse")
    generator.noted = []
    module = tiny_module(
        stream,
        generator=generator,
        memory=None,
        schedule=EveryNSteps(2, at_end=False),
        night=[NREM(1, 4, source="generator")],
    )
    train(module, stream)
    steps = 2 * steps_per_pass(len(stream.experiences[0].train), 9, RankInfo(0, CPU))
    assert module.hypnogram.nights > 3
    assert generator.noted == [1] * steps + [2] * steps + [3] * steps
