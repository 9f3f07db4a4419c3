from __future__ import annotations

from dgnb.plots.curves import default_window


def test_the_default_window_is_a_round_length_of_five_seconds_or_more() -> None:
    assert [default_window(0, seconds) for seconds in (1, 300, 301, 3600, 86400, 1e9)] == [5, 5, 10, 60, 1800, 16675200]
