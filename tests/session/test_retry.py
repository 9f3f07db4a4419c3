"""What is tried again, and when: one test a row of the table of faults."""

from __future__ import annotations

import itertools
import random

import pytest

import dgnb
from dgnb.session.retry import Backoff, Retry, verdict


def lost(code: int, reason: str = "") -> dgnb.ConnectionLost:
    return dgnb.ConnectionLost("lost", code=code, reason=reason)


def refused(transient: bool = True, retry_after: float | None = None) -> dgnb.HandshakeError:
    return dgnb.HandshakeError("refused", transient=transient, retry_after=retry_after)


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "random", random.Random(4))


@pytest.mark.parametrize("code", [1001, 1006, 1011, 1012, 1013, 1014, 4000, 4008, 4999])
def test_a_connection_that_ended_for_a_passing_reason_is_opened_again(code: int) -> None:
    assert verdict(lost(code)) == "retry"


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1010, 1015])
def test_a_fault_that_would_come_again_ends_it(code: int) -> None:
    assert verdict(lost(code)) == "stop"
    assert Retry(600).after(lost(code), 0.0, uptime=60) is None


@pytest.mark.parametrize("code", [1000, 1005, 3000])
def test_an_end_that_nobody_asked_for_is_forgiven_once(code: int) -> None:
    retry = Retry(600)
    assert retry.after(lost(code), 0.0, uptime=60) is not None
    error = lost(code)
    assert retry.after(error, 60.0, uptime=60) is None
    assert "twice in a row" in str(error)


def test_a_final_makes_the_next_one_the_first_again() -> None:
    retry = Retry(600)
    for now in range(0, 500, 100):
        assert retry.after(lost(1000), now, uptime=60) is not None
        retry.final()


@pytest.mark.parametrize("reason", ["NET-0000", "see https://dpgr.am/net0000"])
def test_a_server_without_a_word_to_say_twice_is_a_question_of_format(reason: str) -> None:
    retry = Retry(600)
    assert retry.after(lost(1011, reason), 0.0, uptime=60) is not None
    error = lost(1011, reason)
    assert retry.after(error, 60.0, uptime=60) is None
    assert "format" in str(error)


def test_a_starved_connection_is_opened_again() -> None:
    assert verdict(lost(1011, "NET-0001")) == "retry"


def test_a_refusal_is_tried_again_only_if_that_may_help() -> None:
    assert verdict(refused(transient=True)) == "retry"
    assert verdict(refused(transient=False)) == "stop"
    assert verdict(dgnb.AuthenticationError("no")) == "stop"
    assert verdict(dgnb.DgnbError("no")) == "stop"


def test_reconnecting_can_be_off() -> None:
    assert Retry(0).after(lost(1006), 0.0, uptime=60) is None


def test_a_server_that_was_never_reached_is_tried_four_times() -> None:
    retry = Retry(600)
    now, tries = 0.0, 1
    while (delay := retry.after(error := refused(), now)) is not None:
        now, tries = now + delay, tries + 1
    assert tries == 4
    assert now <= 3.5
    assert "Tried 4 times" in str(error)


def test_a_server_that_was_reached_is_tried_until_patience_ends() -> None:
    retry = Retry(600)
    retry.opened()
    now, tries = 0.0, 0
    while (delay := retry.after(error := refused(), now)) is not None:
        now, tries = now + delay, tries + 1
    assert 585 < now <= 600
    assert 50 < tries < 65
    assert f"Tried {tries + 1} times" in str(error)


def test_the_server_says_when_to_come_again() -> None:
    retry = Retry(600)
    delay = retry.after(refused(retry_after=7.0), 0.0)
    assert delay is not None
    assert 7.0 <= delay <= 7.5


def test_a_server_that_wants_more_time_than_there_is_ends_it() -> None:
    retry = Retry(600)
    error = refused(retry_after=3600.0)
    assert retry.after(error, 0.0) is None
    assert "3600 s" in str(error)


def test_three_connections_that_end_at_once_are_the_end() -> None:
    retry = Retry(600)
    retry.opened()
    assert retry.after(lost(1011), 0.0, uptime=0.1) is not None
    assert retry.after(lost(1011), 1.0, uptime=4.9) is not None
    error = lost(1011)
    assert retry.after(error, 2.0, uptime=0.1) is None
    assert "3 times" in str(error)


def test_a_final_in_between_is_a_new_beginning() -> None:
    retry = Retry(600)
    for now in range(20):
        assert retry.after(lost(1011), now, uptime=0.1) is not None
        retry.final()


def test_a_short_connection_with_a_final_is_no_strike() -> None:
    retry = Retry(600)
    retry.opened()
    retry.final()
    assert retry.after(lost(1006), 0.0, uptime=3.0) is not None
    for now in (1.0, 2.0):
        retry.opened()
        assert retry.after(lost(1006), now, uptime=1.0) is not None
    retry.opened()
    assert retry.after(lost(1006), 3.0, uptime=1.0) is None


def test_a_connection_that_opens_is_no_new_beginning() -> None:
    retry = Retry(600)
    for _ in range(3):
        retry.after(refused(), 0.0)
        retry.opened()
    assert retry.tries == 3


def test_waits_are_jittered_and_grow() -> None:
    bounds = [0.5, 1.0, 2.0, 4.0]
    for _ in range(200):
        backoff = Backoff()
        now = 0.0
        for bound in bounds:
            delay = backoff.next(now)
            assert 0 <= delay <= bound
            now += delay
        assert 10 <= backoff.next(now) <= 12


def test_there_are_eight_tries_in_the_first_minute_at_most() -> None:
    for _ in range(2000):
        backoff, now, times = Backoff(), 0.0, []
        while now < 600:
            now += backoff.next(now)
            times.append(now)
        assert sum(time < 60 for time in times) <= 8
        assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(times[8:]))


def test_no_wait_is_the_same_as_another_ones() -> None:
    assert len({Backoff().next(0.0) for _ in range(50)}) == 50
