from __future__ import annotations

import pytest

from dgnb.plots.axis import clock, round_up


def test_a_length_of_time_is_rounded_up_to_a_round_one() -> None:
    assert [round_up(seconds) for seconds in (0.0, 0.011, 5, 6, 61, 1801, 86401)] == [
        0.01,
        0.02,
        5,
        10,
        120,
        3600,
        172800,
    ]


@pytest.mark.parametrize(
    ("seconds", "furthest", "step", "written"),
    [
        (5.0, 100, 1, "5"),
        (0.25, 100, 0.05, "0.25"),
        (119.999, 500, 0.1, "2:00.0"),
        (61.5, 500, 0.5, "1:01.5"),
        (-61.0, 500, 1, "-1:01"),
        (-0.2, 500, 1, "0:00"),
        (3725.0, 4000, 1, "1:02:05"),
    ],
)
def test_a_time_is_written_as_its_axis_needs_it(seconds: float, furthest: float, step: float, written: str) -> None:
    assert clock(seconds, furthest, step) == written
