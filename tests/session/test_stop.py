from __future__ import annotations

import math

from dgnb.session.stop import DRAIN, REPLAY, TOTAL, Stop


def test_without_a_stop_only_the_drain_timeout_counts() -> None:
    stop = Stop()
    assert not stop.asked
    assert stop.replay_deadline == math.inf
    assert stop.drain_deadline(100.0, 10.0) == 110.0
    assert stop.journal_deadline(100.0) == 100.0 + TOTAL


def test_all_deadlines_count_from_the_first_request() -> None:
    stop = Stop()
    stop.ask(100.0)
    stop.ask(103.0)
    assert stop.asked
    assert stop.replay_deadline == 100.0 + REPLAY
    assert stop.drain_deadline(102.0, 10.0) == 100.0 + DRAIN
    assert stop.drain_deadline(101.0, 1.0) == 102.0
    assert stop.journal_deadline(104.0) == 100.0 + TOTAL


def test_every_step_of_a_stop_ends_before_the_stop_has_to() -> None:
    assert REPLAY < DRAIN < TOTAL
