"""``metrics.csv`` of runs that were killed and resumed."""

from __future__ import annotations

import csv

import pytest

from dreamer.loggers.csv import ResumableCSVLogger, merge_parts, read_rows, write_metrics


def table(*rows: dict[str, object]) -> str:
    columns = sorted({name for row in rows for name in row})
    lines = [",".join(columns), *(",".join(str(row.get(name, "")) for name in columns) for row in rows)]
    return "\r\n".join(lines) + "\r\n"


def rows_of(text: str) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if value} for row in read_rows(text)]


def losses(*steps: int, part: int = 0) -> list[dict[str, object]]:
    return [{"step": step, "epoch": 0, "loss": f"{step}.{part}"} for step in steps]


def test_steps_that_were_done_twice_are_listed_once():
    merged = merge_parts([table(*losses(0, 1, 2, 3, part=0)), table(*losses(2, 3, 4, part=1))])
    assert [row["loss"] for row in rows_of(merged)] == ["0.0", "1.0", "2.1", "3.1", "4.1"]


def test_each_part_is_cut_by_all_later_ones():
    parts = [losses(0, 1, 2, 3, 4, 5, part=0), losses(4, 5, 6, part=1), losses(2, 3, part=2)]
    merged = merge_parts([table(*part) for part in parts])
    assert [row["loss"] for row in rows_of(merged)] == ["0.0", "1.0", "2.2", "3.2"]


def test_a_run_begun_anew_drops_everything_before():
    merged = merge_parts([table(*losses(0, 1, 2)), table(*losses(0, part=1))])
    assert [row["loss"] for row in rows_of(merged)] == ["0.1"]


def test_columns_are_united_and_step_comes_first():
    first = table({"step": 0, "epoch": 0, "wake/loss": 1})
    second = table({"step": 1, "epoch": 1, "nrem/loss": 2})
    assert merge_parts([first, second]).splitlines() == ["step,epoch,nrem/loss,wake/loss", "0,0,,1", "1,1,2,"]


def test_an_evaluation_right_before_the_checkpoint_is_kept():
    evaluation = {"step": 2, "stream/experience": 0, "stream/average_accuracy": 0.5}
    merged = merge_parts([table(*losses(0, 1), evaluation, *losses(2, 3)), table(*losses(2, part=1))])
    assert rows_of(merged) == [
        {"step": "0", "epoch": "0", "loss": "0.0"},
        {"step": "1", "epoch": "0", "loss": "1.0"},
        {"step": "2", "stream/experience": "0", "stream/average_accuracy": "0.5"},
        {"step": "2", "epoch": "0", "loss": "2.1"},
    ]


def test_an_evaluation_that_was_repeated_is_listed_once():
    evaluation = {"step": 2, "stream/experience": 0}
    merged = merge_parts([table(*losses(0, 1), evaluation), table({**evaluation, "stream/experience": 7}, *losses(2))])
    assert [row.get("stream/experience") for row in rows_of(merged)] == [None, None, "7", None]


@pytest.mark.parametrize("cut", range(1, 10))
def test_a_line_cut_off_by_a_kill_is_left_out(cut):
    whole = table({"step": 1, "a": 22, "b": 33}, {"step": 2, "a": 44, "b": 55})
    assert len(rows_of(whole)) == 2
    assert rows_of(whole[:-cut]) == [{"step": "1", "a": "22", "b": "33"}]


def test_a_part_without_rows_changes_nothing():
    for nothing in ("", "epoch,step\r\n", "epoch,st"):
        assert rows_of(merge_parts([table(*losses(0, 1)), nothing, table(*losses(1, part=2))])) == [
            {"step": "0", "epoch": "0", "loss": "0.0"},
            {"step": "1", "epoch": "0", "loss": "1.2"},
        ]
        assert merge_parts([nothing]) == ""


def test_loggers_of_several_starts_make_one_file(tmp_path):
    for start in range(12):
        logger = ResumableCSVLogger(tmp_path)
        logger.log_metrics({"wake/loss": start}, step=2 * start)
        logger.log_metrics({"nrem/loss": start}, step=2 * start + 1)
        logger.log_metrics({"wake/loss": -1.0}, step=2 * start + 2)
        logger.save()
    assert (tmp_path / "logs" / "part_011" / "metrics.csv").is_file()
    path = write_metrics(tmp_path)
    assert path == tmp_path / "metrics.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["step"]) for row in rows] == list(range(25))
    assert [row["wake/loss"] for row in rows if row["wake/loss"]] == [*map(str, range(12)), "-1.0"]
    assert write_metrics(tmp_path / "elsewhere") is None


def test_new_columns_never_leave_a_torn_file(tmp_path, monkeypatch):
    logger = ResumableCSVLogger(tmp_path)
    logger.log_metrics({"a": 1}, step=0)
    logger.save()
    logger.log_metrics({"b": 2}, step=1)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            logger.save()
    assert rows_of((tmp_path / "logs" / "part_000" / "metrics.csv").read_text()) == [{"step": "0", "a": "1"}]
