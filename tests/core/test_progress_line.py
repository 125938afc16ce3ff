"""Rules of the progress line: what a narrow terminal still shows, what a log file gets."""

import io
import re

import pytest
from rich.console import Console

from pixelreasoner.core.progress_line import ProgressLine, Row, clock_text, tracked

FIGURES = {
    "reward": "0.631",
    "accuracy": "0.58",
    "rapr": "0.412",
    "invalid_operations": "0.125",
    "seconds": "14.2",
}


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def console(width: int, *, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)


def text_of(c: Console) -> str:
    assert isinstance(c.file, io.StringIO)
    return c.file.getvalue()


def at_step_12_of_90(width: int) -> tuple[str, int, str]:
    """Ten steps were done in 200 s, so 78 are left at 20 s each: 26 minutes."""
    clock = Clock()
    line = ProgressLine("rl", 90, done=2, console=console(width, terminal=False), clock=clock)
    with line:
        clock.now += 200
        line.update(12, FIGURES)
        return line.fitted(width)


@pytest.mark.parametrize(
    ("width", "fitted"),
    [
        (160, ("rl", 24, "12/90  03:20, 26:00 left  reward 0.631  accuracy 0.58  rapr 0.412"
                         "  invalid_operations 0.125  seconds 14.2")),
        (80, ("rl", 11, "12/90  03:20, 26:00 left  reward 0.631  accuracy 0.58  rapr 0.412")),
        (70, ("rl", 0, "12/90  03:20, 26:00 left  reward 0.631  accuracy 0.58  rapr 0.412")),
        (40, ("rl", 12, "12/90  03:20, 26:00 left")),
        (26, ("rl", 0, "12/90  26:00 left")),
        (18, ("", 0, "12/90  26:00 left")),
        (10, ("", 0, "12/90")),
    ],
)  # fmt: skip
def test_step_total_and_time_left_are_the_last_to_go(width, fitted):
    assert at_step_12_of_90(width) == fitted


@pytest.mark.parametrize("width", range(20, 161, 7))
def test_no_width_loses_the_step_or_breaks_the_line(width):
    label, bar, rest = at_step_12_of_90(width)
    assert "12/90  " in rest
    assert rest.split("left")[0].endswith("26:00 ")
    assert len(label) + bool(label) + bar + bool(bar) + len(rest) <= width


@pytest.mark.parametrize("width", [40, 80, 160])
def test_a_terminal_shows_one_line_that_fits(width):
    c = console(width, terminal=True)
    with ProgressLine("rl", 90, console=c) as line:
        line.update(1, FIGURES)
        line.update(12, FIGURES)
    shown = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", part) for part in re.split(r"[\r\n]+", text_of(c))]
    assert all(len(part) <= width for part in shown)
    assert any("12/90" in part and "left" in part for part in shown)


def test_the_time_left_goes_down_between_two_steps_and_is_unknown_before_the_first():
    clock = Clock()
    with ProgressLine("sft", 4, console=console(80, terminal=False), clock=clock) as line:
        assert "? left" in line.fitted(80)[2]
        clock.now += 60
        line.update(1)
        assert "03:00 left" in line.fitted(80)[2]
        clock.now += 50
        assert "02:10 left" in line.fitted(80)[2]
        clock.now += 3600
        assert "00:00 left" in line.fitted(80)[2]
        line.update(4)
        assert "00:00 left" in line.fitted(80)[2]


def test_a_log_file_gets_the_first_and_the_last_step_and_one_line_every_ten_seconds():
    clock, c = Clock(), console(80, terminal=False)
    with ProgressLine("rl", 20, console=c, clock=clock) as line:
        for step in range(1, 21):
            clock.now += 4
            line.update(step, {"reward": "0.5"})
    steps = [part.split()[1] for part in text_of(c).splitlines()]
    assert steps == ["1/20", "4/20", "7/20", "10/20", "13/20", "16/20", "19/20", "20/20"]
    assert "\x1b" not in text_of(c)


def test_what_stops_on_the_way_says_where():
    c = console(80, terminal=False)
    with ProgressLine("rl", 20, console=c) as line:
        for step in (1, 2, 3):
            line.update(step)
    assert [part.split()[1] for part in text_of(c).splitlines()] == ["1/20", "3/20"]


def test_tracked_items_pass_unchanged_and_count_from_those_done_before():
    c = console(80, terminal=False)
    assert list(tracked("abc", "synth", total=10, done=7, console=c)) == ["a", "b", "c"]
    assert text_of(c).splitlines()[-1].startswith("synth 10/10 ")


def test_clock_text():
    assert [clock_text(s) for s in (0, 59.6, 3599, 3723, float("nan"))] == [
        "00:00",
        "01:00",
        "59:59",
        "1:02:03",
        "?",
    ]


ROWS = [Row("propose", 130, "4 now  12 rejected"), Row("write", 125, "40 now"), Row("judge", 120)]


@pytest.mark.parametrize("width", [30, 80, 160])
def test_parts_have_a_bar_each_and_fit(width):
    c = console(width, terminal=True)
    with ProgressLine("synth", 7500, console=c, rows=lambda: ROWS) as line:
        line.update(120, {"cost": "$1.23"})
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text_of(c))
    shown = [part for part in re.split(r"[\r\n]+", text) if part.strip()]
    assert all(len(part) <= width for part in shown)
    for row in ROWS:
        (last,) = [part for part in shown if part.strip().startswith(row.label)][-1:]
        assert f"{row.done}/7500" in last
        assert last.strip().endswith(row.text) == (width >= 80 or not row.text)


@pytest.mark.parametrize(
    ("width", "fitted"),
    [
        (80, ("  propose", 24, "130/7500  4 now  12 rejected")),
        (48, ("  propose", 9, "130/7500  4 now  12 rejected")),
        (46, ("  propose", 24, "130/7500")),
        (27, ("  propose", 8, "130/7500")),
        (20, ("  propose 130/7500", 0, "")),
    ],
)
def test_a_part_keeps_its_count_longest(width, fitted):
    line = ProgressLine("synth", 7500, console=console(width, terminal=False))
    assert line.fitted_row(ROWS[0], width, label_width=7) == fitted


def test_a_log_file_gets_the_parts_in_the_same_line():
    c = console(80, terminal=False)
    with ProgressLine("synth", 7500, console=c, rows=lambda: ROWS) as line:
        line.update(1)
    (said,) = text_of(c).splitlines()
    assert said.endswith("left  propose 130 (4 now  12 rejected)  write 125 (40 now)  judge 120")
