"""What the display of a comparison says, in a terminal and outside one."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from dreamer.jobs.display import Display, TimeLeft, last_three
from dreamer.jobs.job import Event

CELLS = [Path(f"out/cells/digits/{arm}/seed{seed}") for arm in ("er", "bir") for seed in (1, 2, 3)]
ER, BIR = CELLS[:3], CELLS[3:]


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    """A clock that only the test moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)


def test_outside_a_terminal_everything_that_happens_is_one_line():
    out, clock = io.StringIO(), Clock()
    with Display(CELLS[:4], before=2, file=out, clock=clock) as display:
        display(Event("started", ER[0], 1))
        display(Event("started", ER[1], 1))
        clock.now = 10.0
        display(Event("done", ER[0], 1, 10.0))
        display(Event("died", ER[1], 1, 11.0, "killed by SIGKILL"))
        display(Event("started", ER[1], 2))
        display(Event("failed", ER[1], 2, 1.0, "exit code 1: ValueError: [no] sheep"))
        display(Event("started", ER[2], 1))
        clock.now = 14.0
        display(Event("stopped", ER[2], 1, 4.0, "killed by SIGINT"))
    assert "\x1b" not in out.getvalue()
    assert out.getvalue().splitlines() == [
        "started  digits/er/seed1; 2 of 6 done, 1 running, 3 left",
        "started  digits/er/seed2; 2 of 6 done, 2 running, 2 left",
        "done     digits/er/seed1 in 10.0 s; 3 of 6 done, 1 running, 2 left, about 0:00:10 to go",
        "died     digits/er/seed2 after 11.0 s, will be tried again: killed by SIGKILL; "
        "3 of 6 done, 0 running, 3 left, about 0:00:15 to go",
        "started  digits/er/seed2, attempt 2; 3 of 6 done, 1 running, 2 left, about 0:00:15 to go",
        "failed   digits/er/seed2 after 1.0 s: exit code 1: ValueError: [no] sheep; "
        "3 of 6 done, 0 running, 1 failed, 2 left, about 0:00:10 to go",
        "started  digits/er/seed3; 3 of 6 done, 1 running, 1 failed, 1 left, about 0:00:10 to go",
        "stopped  digits/er/seed3 after 4.0 s: killed by SIGINT; "
        "3 of 6 done, 0 running, 1 failed, 2 left, about 0:00:10 to go",
    ]


def test_a_terminal_shows_what_runs_and_keeps_what_failed(terminal):
    clock = Clock()
    with Display(CELLS, file=terminal, clock=clock) as display:
        display(Event("started", ER[0], 1))
        display(Event("started", BIR[0], 2))
        clock.now = 61.0
        display(Event("failed", BIR[0], 2, 61.0, "exit code 1: no sheep"))
    said = plain(terminal.getvalue())
    assert "failed   digits/bir/seed1 after 61.0 s: exit code 1: no sheep" in said
    last = said[said.rindex("0 of 6 done") :]
    assert last.startswith("0 of 6 done, 1 running, 1 failed, 4 left")
    assert re.search(r"digits/er/seed1 +0:01:01", last) and "bir" not in last
    assert "started" not in said


def test_in_a_narrow_terminal_the_bar_gives_way_and_not_the_words(terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with Display(CELLS, file=terminal) as display:
        display(Event("started", CELLS[0], 1))
        display(Event("done", CELLS[0], 1, 3000.0))
    assert re.search(r"1 of \d+ done, 0 running, \d+ left, about \d:\d\d:\d\d to go", plain(terminal.getvalue()))


def test_a_terminal_shows_no_more_than_some_that_run(terminal):
    many = [Path(f"a/b/c{index}") for index in range(20)]
    with Display(many, file=terminal) as display:
        for folder in many[:11]:
            display(Event("started", folder, 1))
    last = plain(terminal.getvalue()).rpartition("done")[2]
    assert "a/b/c7" in last and "a/b/c8" not in last and "and 3 more" in last


def test_nothing_is_shown_before_it_is_opened(capsys):
    Display(CELLS)(Event("started", ER[0], 1))
    assert capsys.readouterr() == ("", "")


def test_the_time_left_is_guessed_from_siblings_first():
    time_left = TimeLeft()
    assert time_left.estimate(ER[0]) is None and time_left.left(CELLS, [], 2) is None
    time_left.add(ER[0], 10.0)
    assert time_left.estimate(ER[1]) == time_left.estimate(BIR[0]) == 10.0
    time_left.add(BIR[0], 100.0)
    time_left.add(BIR[1], 140.0)
    assert (time_left.estimate(ER[1]), time_left.estimate(BIR[2])) == (10.0, 120.0)
    assert time_left.estimate(Path("elsewhere/arm/seed1")) == pytest.approx(250 / 3)
    # 10 s wait, 120 - 30 s run on, and who is late may end at any moment
    assert time_left.left([ER[1]], [(BIR[2], 30.0), (ER[2], 50.0)], 2) == pytest.approx((10 + 90 + 0) / 2)


def test_a_cell_is_called_by_its_last_three_folders():
    assert last_three(ER[0]) == "digits/er/seed1"
    with Display([Path("x")], name=lambda folder: folder.name.upper(), file=(out := io.StringIO())) as display:
        display(Event("started", Path("x"), 1))
    assert out.getvalue().startswith("started  X;")
