"""Inputs that make no sense: the table that the tests walk too, here with one process for each input."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from benchmarks.trust.child import dreamer
from benchmarks.trust.trial import Trial

TABLE = Path(__file__).parents[2] / "tests" / "cli" / "bad_input.yaml"
BEGAN = 99


def table() -> list[dict[str, Any]]:
    """What is typed, and what the refusal says of it."""
    rows: list[dict[str, Any]] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return rows


def lay_out(folder: Path) -> set[Path]:
    """Write the files that the inputs name; returns all that lies there."""
    (folder / "afile").write_text("x")
    (folder / "afolder").mkdir()
    (folder / "empty.yaml").write_text("")
    (folder / "list.yaml").write_text("- 1\n- 2\n")
    (folder / "one.yaml").write_text("base: two.yaml\n")
    (folder / "two.yaml").write_text("base: one.yaml\n")
    (folder / "itself.yaml").write_text("base: itself.yaml\n")
    (folder / "deep.yaml").write_text("wake: " + "{a: " * 400 + "1" + "}" * 400 + "\n")
    (folder / "dup.yaml").write_text("seed: 1\nseed: 2\n")
    (folder / "alias.yaml").write_text("wake: &a\n  steps: *a\n")
    (folder / "tabs.yaml").write_text("wake:\n\tsteps: 3\n")
    (folder / "binary.yaml").write_bytes(bytes(range(256)))
    (folder / "damaged").mkdir()
    (folder / "damaged" / "config.yaml").write_text("{{{")
    (folder / "damaged" / "results.json").write_text("{")
    (folder / "half").mkdir()
    (folder / "half" / "config.yaml").write_text("{}")
    (folder / "half" / "results.json").write_text('{"complete": false}')
    _lay_out_pictures(folder)
    _lay_out_texts(folder)
    return set(folder.rglob("*"))


def _lay_out_pictures(folder: Path) -> None:
    """Folders of pictures: one with a pipe among them, one with a broken file, one with a single class."""
    for name, classes in (("pictures", "ab"), ("broken", "ab"), ("oneclass", "a")):
        for label in classes:
            (folder / name / label).mkdir(parents=True)
            for number in range(4):
                Image.new("L", (8, 8), 40 * number).save(folder / name / label / f"{number}.png")
    os.mkfifo(folder / "pictures" / "a" / "pipe.png")
    (folder / "broken" / "b" / "9.png").write_bytes(b"no picture")


def _lay_out_texts(folder: Path) -> None:
    """Folders of texts: one that can be learnt, and others that cannot be read."""
    talk = '{"prompt": "how many cats?", "response": "3 cats"}\n'
    for name, file, content in (
        ("texts", "one.txt", b"miaow miaow wow\n" * 200),
        ("emptytexts", "one.txt", b" \n"),
        ("shorttexts", "one.txt", b"miaow"),
        ("binarytexts", "one.txt", bytes(range(256))),
        ("zerotexts", "one.txt", b"miaow\0" * 200),
        ("brokenrows", "one.jsonl", talk.encode() * 40 + b"{\n"),
        ("otherrows", "one.jsonl", b'{"question": "how many cats?"}\n' * 40),
        ("severalrows", "one.jsonl", b'{"instruction": "count", "output": "3", "text": "count: 3"}\n' * 40),
        ("otherspeakers", "one.jsonl", b'{"conversations": [{"from": "tool", "value": "3"}]}\n' * 40),
        ("silentrows", "one.jsonl", b'{"prompt": "how many cats?", "response": ""}\n' * 40),
    ):
        (folder / name).mkdir()
        (folder / name / file).write_bytes(content)


def written(folder: Path, before: set[Path]) -> list[Path]:
    """What lies there that did not before; the files of locks aside."""
    found = {path for path in folder.rglob("*") if not path.name.startswith(".lock")}
    return sorted(found - before, reverse=True)


def fault(case: dict[str, Any], code: object, said: str, left: list[Path]) -> str:
    """What is wrong with an answer: it has to be one sentence and exit code 2, and nothing written."""
    if code != 2:
        return f"exit code {code}: {said[-300:]!r}"
    if said.count("\n") != 1 or not said.startswith("dreamer: ") or case["says"] not in said:
        return f"expected one sentence with {case['says']!r}, got {said[-300:]!r}"
    return f"wrote {', '.join(path.name for path in left)}" if left else ""


def trials(scratch: Path) -> Iterator[Trial]:
    """One for each row of the table."""
    for case in table():
        words = [str(word) for word in case["typed"]]
        yield Trial(f"dreamer {words[0]}", " ".join(words), functools.partial(_typed, case, words))


def _typed(case: dict[str, Any], words: list[str], folder: Path) -> str:
    before = lay_out(folder)
    ending = dreamer(words, folder, _never_begin)
    return fault(case, "the run began" if ending.code == BEGAN else ending.code, ending.said, written(folder, before))


def _never_begin() -> None:
    """A run that was not refused ends as it begins."""
    from dreamer.runs import run

    run.execute = lambda *_, **__: os._exit(BEGAN)
