"""A small study of toys; apart from them, so that a cell that runs one imports little."""

from __future__ import annotations

from typing import Any

from dreamer.studies import study


def request(**changes: Any) -> dict[str, Any]:
    """A small study, as plain values."""
    return {
        "title": "Does a toy <i>toss</i>?",
        "question": "Does it?",
        "experiment": {"name": "tests.helpers.toy_experiment.Toy"},
        "data": {"coins": {"about": "Coins.", "seeds": [1, 2, 3, 4, 5, 6]}},
        "arms": {"plain": {"about": "Adds nothing."}, "lucky": {"about": "Adds a tenth.", "set": {"gain": 0.1}}},
        "primary": [{"data": "coins", "arm": "lucky", "against": "plain", "outcome": "score", "margin": 0.02}],
        "exploratory": [{"against": "plain", "outcome": outcome, "margin": 0.02} for outcome in ("score", "loss")],
        "limits": ["It is a toy."],
        **changes,
    }


def toy_study(**changes: Any) -> study.Study:
    """The same, read."""
    return study.read("toy", request(**changes))
