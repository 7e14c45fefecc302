"""The table of all recipes: what is run, and how it is written."""

from __future__ import annotations

from dreamer.core.text import DASH
from reproductions import leaderboard


def test_replay_beside_a_generator_keeps_as_many_bytes() -> None:
    for arm in leaderboard.GENERATORS:
        assert arm in leaderboard.ARMS
    words = leaderboard.words_of("digits", f"{leaderboard.BESIDE}bir")
    wanted = leaderboard.planned_bytes("digits", leaderboard.words_of("digits", "bir"))
    kept = leaderboard.planned_bytes("digits", words)
    assert words[0] == "er" and abs(wanted - kept) <= 64 + 8


def test_every_arm_is_wanted_with_five_seeds() -> None:
    wanted = leaderboard.wanted()
    assert (
        len(wanted)
        == len({*wanted})
        == 5 * len(leaderboard.STREAMS) * (len(leaderboard.ARMS) + len(leaderboard.GENERATORS))
    )


def test_the_page_is_what_its_script_writes() -> None:
    made = leaderboard.RUNS.all()
    assert [(one["stream"], one["arm"], one["seed"]) for one in made] == leaderboard.wanted()
    assert leaderboard.page(made) == leaderboard.PAGE.read_text(encoding="utf-8")


def test_the_most_accurate_comes_first() -> None:
    def made(arm: str, accuracy: float, seed: int) -> dict[str, object]:
        numbers = {"average_accuracy": accuracy + seed / 100, "forgetting": 0.1, "stability_gap": None}
        cost = {"bytes": 2_000_000, "stores": "nothing" if arm == "dreams" else "samples", "cpu_seconds": 4.0}
        return {"stream": "digits", "arm": arm, "seed": seed, "machine": "a laptop", **numbers, **cost}

    runs = [made(arm, accuracy, seed) for arm, accuracy in (("er", 0.5), ("dreams", 0.9)) for seed in (1, 2)]
    rows = [line for line in leaderboard.page(runs).splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `dreams` | 2 | 91.5 ± 0.7 | 10.0 ± 0.0 | {DASH} | 2.0 MB | no | 4 ± 0 |",
        f"| `er` | 2 | 51.5 ± 0.7 | 10.0 ± 0.0 | {DASH} | 2.0 MB | yes | 4 ± 0 |",
    ]
