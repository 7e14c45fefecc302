"""The wake-sleep cycle without Lightning: a plain loop drives it to the same weights."""

from __future__ import annotations

import itertools

import torch

from dreamer.core.randomness import Purpose, mix, seed_global
from dreamer.core.types import Step
from dreamer.loop.batches import RankInfo, seen_batches
from dreamer.loop.plan import classes_at, plan_run, seen_classes, training_samples
from dreamer.loop.sleeper import Sleeper, restore_rates
from dreamer.plasticity import MovingAverage, SynapticIntelligence
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
            loss = sleeper.train_step(step, sleeper.unseen(step)).total
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
