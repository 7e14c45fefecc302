"""The tables of a comparison: the right number in the right cell, in every form."""

from __future__ import annotations

import csv
import io
import json
import re

from dreamer.compare.analysis import analyse, explained
from dreamer.compare.page_tables import costs_table
from dreamer.compare.results import Comparison, CompletedRun
from dreamer.compare.tables import (
    latex_table,
    markdown_table,
    plain_comparison,
    print_comparison,
    stream_notes,
    terminal_rows,
    write_tables,
)
from dreamer.compare.words import ranking_line
from dreamer.core.text import DASH, MINUS
from dreamer.jobs.runner import Missing
from dreamer.metrics.significance import Ranking
from tests.helpers.made_up_runs import fake_results

SCORES = {"er": [0.5, 0.52, 0.54], "avalanche:Replay": [0.6, 0.64, None], "bir": [0.4, 0.4, 0.4]}


def completed_run(arm, stream, seed, accuracy, folder=None) -> CompletedRun:
    results = fake_results(3, seed=seed)
    results["metrics"] |= {"average_accuracy": accuracy, "forward_transfer": None}
    results["cost"]["bytes"]["plasticity"] = 0
    results["cost"]["samples"]["replayed"] = 320
    return CompletedRun(arm, stream, seed, results, folder and folder / "cells" / stream / arm / f"seed{seed}")


def toy(folder=None, streams=("split_mnist", "digits"), names=None, **more) -> Comparison:
    names = names or {}
    cells = [
        (names.get(arm, arm), stream, seed, score)
        for stream in streams
        for arm, scores in SCORES.items()
        for seed, score in enumerate(scores)
    ]
    completed = tuple(
        completed_run(arm, stream, seed, score, folder) for arm, stream, seed, score in cells if score is not None
    )
    missing = tuple(Missing(a, s, seed, "killed:\nno | memory") for a, s, seed, score in cells if score is None)
    return Comparison(
        "replay & dreams",
        completed,
        missing,
        names.get("er", "er"),
        ("bir took more_ steps",),
        "dreamer compare er",
        **more,
    )


def markdown_rows(text: str, stream: str) -> list[list[str]]:
    lines = text.split(f"## {stream}\n\n", 1)[1].split("\n\n", 1)[0].splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_four_files_are_written_and_nothing_else(tmp_path):
    comparison = toy(tmp_path)
    paths = write_tables(comparison, analyse(comparison), tmp_path / "new")
    assert sorted(path.name for path in paths) == ["results.csv", "results.json", "table.md", "table.tex"]
    assert sorted(paths) == sorted((tmp_path / "new").iterdir())


def test_csv_has_a_row_for_every_cell(tmp_path):
    comparison = toy(tmp_path / "out", streams=("split_mnist",))
    elsewhere = completed_run("bir", "digits", 7, 0.25, tmp_path / "other")
    nowhere = completed_run("er", "digits", 7, None)
    comparison = Comparison("t", (*comparison.runs, nowhere, elsewhere), comparison.missing, "er")
    write_tables(comparison, analyse(comparison), tmp_path / "out")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "results.csv").read_text())))
    assert [(row["stream"], row["arm"], row["seed"]) for row in rows] == [
        *(("split_mnist", arm, str(seed)) for arm in SCORES for seed in range(3)),
        ("digits", "er", "7"),
        ("digits", "bir", "7"),
    ]
    first, lost, away, by = rows[0], rows[5], rows[9], rows[10]
    assert first["average_accuracy"] == "0.5" and first["forward_transfer"] == first["missing"] == ""
    assert first["folder"] == "cells/split_mnist/er/seed0"
    assert (first["steps"], first["samples_real"], first["samples_replayed"]) == ("570", "7680", "320")
    assert (first["samples_dreamt"], first["seconds"]) == ("4480", "20.5")
    assert (first["bytes_kept"], first["bytes_network"]) == ("6331904", "1913896")
    assert float(first["forgetting"]) == comparison.runs[0].results["metrics"]["forgetting"]
    assert lost["missing"] == "killed:\nno | memory" and lost["average_accuracy"] == lost["steps"] == ""
    assert away["average_accuracy"] == away["folder"] == ""
    assert by["folder"] == (tmp_path / "other/cells/digits/bir/seed7").resolve().as_posix()


def test_the_tables_say_whether_real_samples_are_stored():
    kept = {"er": "samples", "bir": "statistics", "avalanche:Replay": None}
    comparison = toy(streams=("digits",))
    for run in comparison.runs:
        run.results["cost"]["bytes"]["memory"] = 100
        if kept[run.arm]:
            run.results["cost"]["stores"] = kept[run.arm]
    analysis = analyse(comparison)
    header, _, *rows = markdown_rows(markdown_table(comparison, analysis), "digits")
    place = header.index("stores real samples")
    assert {row[0]: row[place] for row in rows} == {"er": "yes", "bir": "no (statistics)", "avalanche:Replay": DASH}
    table = costs_table(analysis, "digits", "digits-1")
    place = [column.label for column in table.columns].index("Stores real samples")
    assert {row[0].text: row[place].text for row in table.rows} == {
        "er": "yes",
        "bir": "no (statistics)",
        "avalanche:Replay": DASH,
    }


def test_json_holds_everything_and_no_nan(tmp_path):
    comparison = toy(tmp_path)
    comparison.runs[0].results["metrics"]["sleep_gain"] = float("nan")
    analysis = analyse(toy(tmp_path))
    write_tables(comparison, analysis, tmp_path)

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    read = json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)
    assert (read["title"], read["command"], read["reference"]) == ("replay & dreams", "dreamer compare er", "er")
    assert read["streams"] == ["split_mnist", "digits"] and read["arms"] == list(SCORES)
    assert len(read["cells"]) == 16 and len(read["missing"]) == 2 and read["warnings"] == ["bir took more_ steps"]
    cell = read["cells"][3]
    assert (cell["arm"], cell["seed"], cell["metrics"]["average_accuracy"]) == ("avalanche:Replay", 0, 0.6)
    assert cell["cost"] == comparison.runs[3].results["cost"]
    assert cell["accuracy_matrix"]["rows"][-1]["accuracy"]
    assert read["cells"][0]["metrics"]["sleep_gain"] is None
    standing = read["analysis"]["standings"][1]
    paired = analysis.of("avalanche:Replay", "split_mnist").paired
    assert standing["paired"]["p_holm"] == paired.p_holm and standing["paired"]["n"] == 2
    assert read["analysis"]["ranking"]["mean_ranks"] == dict(analysis.ranking.mean_ranks)
    assert "\n\n".join(read["explanation"]) == explained(analysis)


def test_markdown_cells_by_hand():
    comparison = toy()
    text = markdown_table(comparison, analyse(comparison))
    header, rule, er, replay, bir = markdown_rows(text, "split_mnist")
    assert len({len(row) for row in (header, rule, er, replay, bir)}) == 1
    column = {name: i for i, name in enumerate(header)}
    assert er[: column["pairs"]] == ["er", "3", "52.00 ± 2.00", "47.03 to 56.97", "reference"]
    # differences 0.1 and 0.12: mean 0.11, std 0.02 / sqrt 2, standard error 0.01, t 12.706
    assert replay[:6] == [
        "avalanche:Replay",
        "2",
        "62.00 ± 2.83",
        "36.59 to 87.41",
        f"+11.00 ({MINUS}1.71 to +23.71)",
        "2",
    ]
    assert replay[column["d_z"]] == "+7.78" and replay[column["conclusion"]] == "too few pairs"
    # p of the family: 0.5 and 0.25 on two streams each
    assert replay[column["p (Holm)"]] == bir[column["p (Holm)"]] == "1.000"
    assert bir[column["steps"] :] == ["570", "7,680 + 4,800", "6.3 MB", "no", "20.5", "3.00"]
    assert "- too few pairs: with 2 pairs no p below 2/2^2 = 0.5 is possible (avalanche:Replay)" in text
    assert "mean ranks over 2 seeds: avalanche:Replay 1.00, er 2.00, bir 3.00" in text
    assert "; Friedman: chi2(2) = 4.00, p = 0.135" in text
    assert "mean ranks over 4 pairs of stream and seed" in text


def test_markdown_says_what_a_reader_must_know():
    comparison = toy()
    text = markdown_table(comparison, analyse(comparison))
    assert "dreamer compare er" in text and r"- bir took more\_ steps" in text
    assert r"- avalanche:Replay on digits, seed 2: killed: no \| memory" in text
    assert text.endswith(explained(analyse(comparison)) + "\n")
    alone = toy(streams=("digits",))
    assert "All streams" not in markdown_table(alone, analyse(alone))
    bare = Comparison("t", alone.runs, (), "er")
    assert not re.search(r"Warnings|Missing|```", markdown_table(bare, analyse(bare)))


def test_markdown_survives_odd_names():
    comparison = toy(names={"bir": "a|b*c_d_", "er": "<er>"})
    rows = markdown_rows(markdown_table(comparison, analyse(comparison)), "digits")
    assert [row[0] for row in rows[2:]] == [r"\<er\>", "avalanche:Replay", r"a\|b\*c_d\_"]
    assert {len(row) for row in rows} == {15} and r"\<er\>" in rows[0][4]


def test_latex_escapes_what_latex_reads():
    comparison = toy(names={"er": r"e&r_50%", "bir": r"[#1] {\x}$~^"})
    text = latex_table(comparison, analyse(comparison))
    assert r"e\&r\_50\% & 3 & 52.00 $\pm$ 2.00 & reference & -- & -- & -- & 2.00 \\" in text
    assert r"avalanche:Replay & 570 & 7,680 + 4,800 & 6.3 MB & no & 20.5 \\" in text
    assert (
        r"{[}\#1{]} \{\textbackslash{}x\}\$\textasciitilde{}\textasciicircum{} & 3 & 40.00 $\pm$ 0.00 & $-$12.00"
        in text
    )
    assert text.count(r"\begin{table}") == text.count(r"\end{tabular}") == 4 and r"split\_mnist: average" in text
    bodies = re.findall(r"\\midrule\n(.*?)\\bottomrule", text, re.DOTALL)
    counts = [{len(re.findall(r"(?<!\\)&", row)) for row in body.strip().splitlines()} for body in bodies]
    assert counts == [{7}, {5}, {7}, {5}]


def test_notes_name_the_arms_unless_they_hold_for_all():
    comparison = toy()
    ours = Comparison("t", tuple(run for run in comparison.runs if run.arm != "avalanche:Replay"), (), "er")
    assert stream_notes(analyse(ours), "digits")[0].startswith("too few pairs: with 3 pairs")
    assert [note.split(":")[0] for note in stream_notes(analyse(comparison), "digits")[:2]] == [
        "too few pairs",
        "too few pairs",
    ]
    front = stream_notes(analyse(comparison), "digits")[-1]
    assert front.endswith("avalanche:Replay (steps); avalanche:Replay (seconds); avalanche:Replay (bytes kept)")


def test_ranks_that_are_not_there():
    alone = toy(streams=("digits",))
    completed = tuple(run for run in alone.runs if (run.arm, run.seed) in (("er", 0), ("bir", 1)))
    analysis = analyse(Comparison("t", completed, (), "er"))
    assert ranking_line(analysis.ranking, "seed") == (
        "mean ranks: none, there is no seed for which every arm has a score"
    )


def test_a_small_p_is_said_to_be_smaller():
    line = ranking_line(Ranking(9, {"x": 3.0, "y": 2.0, "z": 1.0}, 18.0, 0.0001), "seed")
    ranks, test = line.split("; ")
    assert ranks == "mean ranks over 9 seeds: z 1.00, y 2.00, x 3.00"
    assert test == "Friedman: chi2(2) = 18.00, p\xa0<\xa00.001: the arms are not all alike"


def test_outside_a_terminal_it_is_plain_text():
    comparison, out = toy(), io.StringIO()
    analysis = analyse(comparison)
    print_comparison(comparison, analysis, out)
    assert out.getvalue() == plain_comparison(comparison, analysis) + "\n"
    assert "\x1b" not in out.getvalue()
    assert re.search(
        r"bir +3 +40\.00 ± 0\.00 +.12\.00 \(.16\.97 to .7\.03\) +1\.000 +too few pairs +570 +4,800 +6\.3 MB",
        out.getvalue(),
    )
    assert "missing: avalanche:Replay on digits, seed 2: killed: no | memory" in out.getvalue().splitlines()
    assert "warning: bir took more_ steps" in out.getvalue()


def test_in_a_terminal_it_says_the_same(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    comparison, out = toy(names={"bir": "[bold]bir"}), Terminal()
    analysis = analyse(comparison)
    print_comparison(comparison, analysis, out)
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert text != out.getvalue()
    for stream in comparison.streams:
        for row in terminal_rows(analysis, stream):
            assert re.search(r"│\s*" + r"\s*│\s*".join(map(re.escape, row)) + r"\s*│", text)
        assert all(note in text for note in stream_notes(analysis, stream))
    assert "missing: avalanche:Replay on digits, seed 2" in text


def test_a_comparison_without_a_single_run(tmp_path):
    comparison = Comparison("t", (), tuple(Missing("er", "digits", k, "not run yet") for k in range(2)), "er")
    analysis = analyse(comparison)
    write_tables(comparison, analysis, tmp_path)
    assert "| er | 0 | \N{EN DASH} | \N{EN DASH} | reference | \N{EN DASH} |" in (tmp_path / "table.md").read_text()
    assert "not run yet" in plain_comparison(comparison, analysis)
