"""Short runs of many kinds: each takes a second or two, and has all that a long one has."""

from __future__ import annotations

_DIGITS = ("digits", "stream.experiences=3", "wake.steps=8", "wake.batch_size=32", "network.hidden=[32]")
_NIGHT = ("night.0.steps=4", "night.1.steps=5")

RECIPES: dict[str, tuple[str, ...]] = {
    # a conditional generator, trained awake; its dreams are measured
    "dreams": (*_DIGITS, *_NIGHT, "wake.replay=16", "generator.hidden=[32]", "dream_quality.samples=20"),
    # a memory that keeps the learner's outputs
    "derpp": (_DIGITS[0], "derpp", *_DIGITS[1:], "memory.capacity=60"),
    # replay through feedback: the learner is the encoder
    "bir": (_DIGITS[0], "bir", *_DIGITS[1:], "generator.latent_dim=8", "wake.replay=16"),
    # moving averages of the weights, and a memory
    "cls_er": (_DIGITS[0], "cls_er", *_DIGITS[1:], "memory.capacity=60"),
    # nights that are left open until the run decides
    "open nights": (
        *_DIGITS,
        *_NIGHT,
        "wake.replay=16",
        "generator.hidden=[32]",
        "schedule={name: sleep_pressure, capacity: 60, check_every: 2, least: 1, most: null}",
        "dream_quality=null",
        "continual_evaluation.every_n_steps=3",
    ),
    # a language model, and dreams that are texts
    "arithmetic": (
        "arithmetic",
        "stream.samples=[96, 64, 64, 64]",
        "stream.test=16",
        "wake.batch_size=16",
        "wake.steps=6",
        "night.0.steps=3",
        "night.1.steps=3",
        "network.width=16",
        "network.layers=1",
        "network.heads=2",
    ),
}
"""What is typed after ``dreamer run``, by a name for it."""
