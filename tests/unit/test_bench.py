"""The arithmetic of the bench: percentiles of few values, ratios with an interval, tables that leave nothing out."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.bench.data import Run, report
from tests.bench.figures import Start, nearest_rank, ratio, ratio_lines, spawn_table, stage_table, table, times
from tests.bench.iod import Inputs
from tests.bench.shards import report as in_shards
from tests.bench.text import main as planted
from tests.dicom_factory import ct, part10, slice_pixels

STARTS = [
    *(Start("ours", 1, n, seconds, stages={"running": 0.5, "usable": seconds}) for n, seconds in enumerate((4, 2, 3))),
    *(Start("stock", 1, n, seconds, stages={"usable": seconds}) for n, seconds in enumerate((6, 6, 6, 6))),
    Start("stock", 1, 9, None, "TimeoutError: no answer"),
    Start("ours", 2, 1, None, "TimeoutError: no answer"),
]


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [
        (1, 0.95, 1),
        (8, 0.95, 8),
        (19, 0.95, 19),
        (20, 0.95, 19),
        (30, 0.95, 29),
        (100, 0.95, 95),
        (100, 1.0, 100),
        (4, 0.0, 1),
    ],
)
def test_the_nearest_rank_is_one_of_the_values_and_of_few_the_largest(count: int, share: float, expected: int) -> None:
    assert nearest_rank([float(value) for value in range(count, 0, -1)], share) == expected


def test_a_failed_start_has_no_time_and_is_counted() -> None:
    assert times(STARTS, "stock", 1) == [6, 6, 6, 6]
    lines = spawn_table(STARTS, ["ours", "stock"], [1, 2]).splitlines()
    assert lines[1].split() == ["ours", "1", "3", "0", "3.00", "4.00", "4.00"]
    assert lines[2].split() == ["stock", "1", "5", "1", "6.00", "6.00", "6.00"]
    assert lines[3].split() == ["ours", "2", "1", "1", "nan", "nan", "nan"], "no time is made up where nothing started"


def test_a_ratio_is_of_medians_and_its_interval_is_the_same_each_time() -> None:
    found = ratio([2, 3, 4], [6, 6, 6])
    assert found.value == 0.5
    assert found.low == pytest.approx(2 / 6)
    assert found.high == pytest.approx(4 / 6)
    assert found == ratio([2, 3, 4], [6, 6, 6])
    assert str(found) == "0.50 (0.33 to 0.67)"


def test_a_ratio_of_equal_times_has_no_width() -> None:
    assert ratio([5.0, 5.0], [5.0]) == ratio([1.0], [1.0])


def test_a_ratio_is_told_only_where_both_arms_started() -> None:
    lines = ratio_lines(STARTS, "ours", ["stock", "bare"], [1, 2])
    assert len(lines) == 1
    assert lines[0].startswith("ours / stock, 1 at once: 0.50 ")


def test_a_stage_that_an_arm_has_not_is_a_dash() -> None:
    lines = stage_table(STARTS, ["ours", "stock"], [1], ["running", "usable"]).splitlines()
    assert [line.split() for line in lines[1:]] == [["ours", "1", "0.50", "3.00"], ["stock", "1", "-", "6.00"]]


def test_columns_line_up() -> None:
    assert table(["arm", "s"], [["ours", "10.00"], ["a", "1"]]) == "arm       s\nours  10.00\na         1"


def test_the_data_path_is_compared_by_what_one_core_does() -> None:
    runs = [
        Run("read and write", 1, 64, 1.0),
        Run("deid", 1, 64, 4.0),
        Run("deid", 1, 64, 5.0),
        Run("deid", 2, 64, 2.0),
    ]
    rows = [line.split() for line in report(runs).splitlines()[1:]]
    assert rows[1][1:] == ["1", "4.00", "16.0", "16.0", "4.0"], "the quicker of the two passes"
    assert rows[2][1:] == ["2", "2.00", "32.0", "16.0", "4.0"]


def test_two_workers_are_compared_with_one_step_by_step() -> None:
    took = {"plan": (2.0, 1.0), "work": (9.0, 5.0), "finish": (1.0, 1.0)}
    runs = [Run(step, jobs, 64, seconds) for step, both in took.items() for jobs, seconds in enumerate(both, 1)]
    rows = [line.split() for line in in_shards(runs).splitlines()[1:]]
    assert rows[1] == ["work", "9.00", "5.00", "1.80"]
    assert rows[3] == ["together", "12.00", "7.00", "1.71"]


def test_what_a_tool_broke_is_counted_by_the_error(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    for number in (1, 2, 3):
        (source / f"{number}.dcm").write_bytes(part10(ct(slice_pixels(seed=number))))
    (target / "same.dcm").write_bytes((source / "1.dcm").read_bytes())
    broken = ct(slice_pixels(seed=2), x00281053=None, x00200052=None)
    (target / "broken.dcm").write_bytes(part10(broken))
    (target / "strange.dcm").write_bytes(part10(ct(slice_pixels(seed=9))))
    found = Inputs(source).validity_of(target)
    assert (found.outputs, found.worse) == (2, 1)
    assert found.added >= 2
    assert str(found) == f"{found.added} in 1/2"


def test_planted_text_is_counted_once_and_none_of_the_real_pictures_is_held_without_it() -> None:
    said = CliRunner().invoke(planted, ["--planted", "6"]).output
    tables = [part.splitlines() for part in said.strip().split("\n\n")]
    assert [lines[0] for lines in tables] == ["CT", "MR", "films"]
    for lines in tables:
        rows = [[int(cell) for cell in line.split()[-4:]] for line in lines[2:-1]]
        assert sum(planted for planted, *_ in rows) == 6
        assert all(max(chains, strokes) <= either <= planted for planted, chains, strokes, either in rows)
        assert lines[-1].startswith("held as they are: none")
