"""The table of results: the right number in the right cell, in a terminal and outside one."""

from __future__ import annotations

import io
import re

from dreamer.core.text import DASH
from dreamer.report.table import cost_lines, experience_rows, metric_rows, plain_table, print_table
from tests.helpers.made_up_runs import fake_results


def test_cells_by_hand():
    summary = fake_results(3)
    for row in summary["accuracy_matrix"]["rows"]:
        base = {"birth": 0.0, "wake": 0.1, "night": 0.2}[row["after"]] + 0.3 * max(row["experience"], 0)
        row["accuracy"] = [base + 0.01 * j for j in range(3)]
    assert experience_rows(summary) == [
        ("0", "0 1", "10.00", "20.00", "80.00"),
        ("1", "2 3", "41.00", "51.00", "81.00"),
        ("2", "4 5", "72.00", "82.00", "82.00"),
    ]


def test_what_was_not_reached_is_a_dash_and_what_is_undefined_is_left_out():
    summary = fake_results(3, sleep=False)
    summary["complete"] = False
    summary["accuracy_matrix"]["rows"] = summary["accuracy_matrix"]["rows"][:2]
    summary["metrics"] = dict.fromkeys(summary["metrics"]) | {"sleep_gain": 0.125}
    rows = experience_rows(summary)
    assert rows[0][3] == DASH and rows[1][2:4] == (DASH, DASH) and rows[0][2] == rows[0][4] != DASH
    assert metric_rows(summary) == [("gain per night", "12.50")]
    assert "stopped early" in plain_table(summary)
    summary["accuracy_matrix"]["rows"] = summary["accuracy_matrix"]["rows"][:1]
    assert {row[4] for row in experience_rows(summary)} == {DASH}, "the row before training is no end of a run"


def test_costs_are_summed_over_sleep():
    summary = fake_results(5)
    awake, asleep, kept = cost_lines(summary)
    assert "600 steps, 7,680 samples, 12.2 s" in awake and "replayed" not in awake
    assert "350 steps, 4,480 dreams, 8.2 s; evaluations 1.5 s" in asleep
    assert "network 1.9 MB, memory 0 B, generator 2.5 MB, teacher 3.8 MB" in kept
    summary["cost"]["samples"]["replayed"] = 1234
    assert "1,234 replayed" in cost_lines(summary)[0]


def test_long_class_lists_are_cut():
    summary = fake_results(2)
    summary["protocol"]["class_order"] = [list(range(50)), [50]]
    assert experience_rows(summary)[0][1] == "0 1 2 3 4 … (50)"


def test_outside_a_terminal_it_is_plain_text():
    out = io.StringIO()
    print_table(fake_results(5), out)
    assert out.getvalue() == plain_table(fake_results(5)) + "\n"
    assert "\x1b" not in out.getvalue()


def test_in_a_terminal_it_says_the_same(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    out, summary = Terminal(), fake_results(5)
    print_table(summary, out)
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert text != out.getvalue()
    for row in experience_rows(summary):
        assert re.search(r"│\s*" + r"\s*│\s*".join(row) + r"\s*│", text)
    for name, value in metric_rows(summary):
        assert re.search(re.escape(name) + r"\s+" + re.escape(value) + " %", text)
    assert all(line in text for line in cost_lines(summary))


def test_a_run_without_a_name_is_called_after_its_stream():
    summary = fake_results(2)
    del summary["name"]
    assert plain_table(summary).startswith(f"{summary['protocol']['stream']}: ")


def test_classes_are_called_by_their_names():
    results = fake_results(2)
    results["protocol"] |= {"class_names": ["cat", "dog", "fox"], "class_order": [[2, 0], [1, 3]]}
    assert [row[1] for row in experience_rows(results)] == ["fox, cat", "dog, 3"]
