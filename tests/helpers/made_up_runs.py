"""Results of made-up runs for tests of pictures, tables and files: plausible numbers, no training."""

from __future__ import annotations

from typing import Any

import torch

from dreamer.core.hypnogram import Hypnogram, Stretch
from dreamer.metrics.continual import summarise


def fake_results(
    experiences: int = 5, cycles: int = 1, wake: int = 120, seed: int = 0, sleep: bool = True
) -> dict[str, Any]:
    """What ``results.json`` holds of a network that forgets in wake stages and recovers in nights."""
    night = [("nrem", wake // 3), ("rem", wake // 4)] if sleep else []
    hypnogram = Hypnogram.plan([[Stretch(wake, True)]] * experiences, night, cycles)
    rows = _rows(hypnogram, experiences, torch.Generator().manual_seed(seed))
    return {
        "name": "fake",
        "complete": True,
        "seed": seed,
        "protocol": {
            "stream": "fake",
            "scenario": "class",
            "experiences": experiences,
            "class_order": [[2 * i, 2 * i + 1] for i in range(experiences)],
            "active_outputs": "all",
            "validation_samples": [20] * experiences,
            "sample_shape": [1, 8, 8],
            "num_classes": 2 * experiences,
        },
        "hypnogram": hypnogram.as_records(),
        "accuracy_matrix": {"rows": rows},
        "metrics": dict(summarise(rows)),
        "cost": {
            "optimizer_steps": hypnogram.steps(),
            "samples": {"wake": 7680, "replayed": 0, "nrem": 2560, "rem": 1920},
            "seconds": {"wake": 12.25, "nrem": 4.5, "rem": 3.75, "examination": 1.5},
            "bytes": {"network": 1_913_896, "memory": 0, "generator": 2_504_112, "teacher": 3_827_792},
        },
    }


def _rows(hypnogram: Hypnogram, experiences: int, random: torch.Generator) -> list[dict[str, Any]]:
    index = torch.arange(experiences)
    now = 0.1 + 0.03 * torch.rand(experiences, generator=random)
    rows = [_row("birth", -1, -1, -1, 0, now)]
    steps = 0
    for stage in hypnogram:
        steps += stage.steps
        if not stage.evaluated:
            continue
        noise = 0.03 * torch.rand(experiences, generator=random)
        past = index < stage.experience
        if stage.kind == "wake":
            now = torch.where(past, now * 0.55 + noise, now)
            now[stage.experience] = 0.99 - noise[stage.experience]
        else:
            now = torch.where(past, 0.97 - 0.02 * (stage.experience - index).clamp(min=0).sqrt() - noise, now)
            now[stage.experience] -= 0.01
        after = "wake" if stage.kind == "wake" else "night"
        rows.append(_row(after, stage.experience, stage.night, stage.index, steps, now))
    return rows


def _row(after: str, experience: int, night: int, stage: int, step: int, accuracy: torch.Tensor) -> dict[str, Any]:
    return {
        "after": after,
        "experience": experience,
        "night": night,
        "stage": stage,
        "global_step": step,
        "accuracy": [float(value) for value in accuracy.clamp(0, 1)],
        "validation": None,
    }
