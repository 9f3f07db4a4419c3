from __future__ import annotations

from dgnb.session.lag import Lag


def test_a_loop_that_runs_has_no_delay() -> None:
    lag = Lag(0.25, 10.0, 1000.0)
    for tick in range(1, 5):
        assert lag.tick(10.0 + tick * 0.25, 1000.0 + tick * 0.25) == (0.0, 0.0)
    assert lag.worst == 0.0


def test_the_delay_is_the_time_that_the_loop_was_blocked() -> None:
    lag = Lag(0.25, 10.0, 1000.0)
    assert lag.tick(70.25, 1060.25) == (60.0, 0.0)
    assert lag.worst == 60.0
    assert lag.recent(80.0) == 60.0
    lag.tick(80.25, 1070.25)
    for tick in range(1, 200):
        lag.tick(80.25 + tick * 0.25, 1070.25 + tick * 0.25)
    assert lag.recent(130.0) == 0.0
    assert lag.worst == 60.0


def test_a_block_counts_before_the_next_tick() -> None:
    lag = Lag(0.25, 10.0, 1000.0)
    assert lag.recent(22.25) == 12.0


def test_since_counts_only_ticks_in_its_interval() -> None:
    lag = Lag(0.25, 10.0, 1000.0)
    lag.tick(22.25, 1012.25)
    lag.tick(22.5, 1012.5)
    assert lag.since(12.0, 22.6) == 12.0
    assert lag.since(22.3, 22.6) == 0.0


def test_a_sleep_of_the_machine_is_not_a_delay() -> None:
    lag = Lag(0.25, 10.0, 1000.0)
    assert lag.tick(10.25, 8200.25) == (0.0, 7200.0)


def test_a_wall_clock_that_is_set_is_not_a_sleep() -> None:
    lag = Lag(0.25, 10.0, 1000.0)
    assert lag.tick(10.25, 1005.25) == (0.0, 0.0)
    assert lag.tick(10.5, 900.0) == (0.0, 0.0)
