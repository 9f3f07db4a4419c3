"""Which faults are tried again, and when."""

from __future__ import annotations

import itertools
import random

import pytest

import dgnb
from dgnb.connection.errors import GaveUp, connection_lost
from dgnb.session.retry import Backoff, Retry


def lost(code: int, reason: str = "") -> dgnb.ConnectionLost:
    return dgnb.ConnectionLost("lost", code=code, reason=reason)


def refused(transient: bool = True, retry_after: float | None = None) -> dgnb.HandshakeError:
    return dgnb.HandshakeError("refused", transient=transient, retry_after=retry_after)


@pytest.fixture(autouse=True)
def seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Backoff, "random", random.Random(4))


def ended(retry: Retry, error: dgnb.DgnbError, now: float = 0.0, uptime: float | None = None) -> dgnb.DgnbError:
    """The error with which the tries end."""
    with pytest.raises(dgnb.DgnbError) as caught:
        retry.delay(error, now, uptime=uptime)
    return caught.value


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1010, 1015])
def test_a_fault_that_would_come_again_is_raised_as_it_is(code: int) -> None:
    error = lost(code)
    assert ended(Retry(600), error, uptime=60) is error


@pytest.mark.parametrize("code", [1000, 1005, 3000])
def test_an_unexpected_end_is_tried_again_once(code: int) -> None:
    retry = Retry(600)
    retry.delay(lost(code), 0.0, uptime=60)
    assert str(ended(retry, lost(code), 60.0, uptime=60)) == "lost It happened twice in a row."


def test_two_unexpected_ends_of_different_kinds_are_not_twice_the_same() -> None:
    retry = Retry(600)
    for code in (1000, 1005, 3000):
        retry.delay(lost(code), 0.0, uptime=60)


def test_a_final_resets_the_count_of_unexpected_ends() -> None:
    retry = Retry(600)
    for now in range(0, 500, 100):
        retry.delay(lost(1000), now, uptime=60)
        retry.final()


SILENCES = {
    "NET-0000": lost(1011, "NET-0000"),
    "a link": lost(1011, "see https://dpgr.am/net0000"),
    "this side gave up": connection_lost(1006, gave_up=GaveUp.SILENT),
}


@pytest.mark.parametrize("first", SILENCES)
@pytest.mark.parametrize("second", SILENCES)
def test_a_server_that_is_silent_twice_ends_the_tries_with_a_question_about_the_format(first: str, second: str) -> None:
    retry = Retry(600)
    retry.delay(SILENCES[first], 0.0, uptime=60)
    told = str(ended(retry, SILENCES[second], 60.0, uptime=60))
    assert "It happened twice in a row. Is the audio in the format that encoding" in told


def test_a_refusal_that_would_come_again_is_raised_as_it_is() -> None:
    error = refused(transient=False)
    assert ended(Retry(600), error) is error


def test_reconnecting_can_be_off() -> None:
    error = lost(1006)
    assert ended(Retry(0), error, uptime=60) is error


def test_the_last_error_keeps_what_the_server_said_and_is_a_new_one() -> None:
    retry = Retry(600)
    error = dgnb.HandshakeError("refused", status=503, error="busy", request_id="r", transient=True, retry_after=3600.0)
    last = ended(retry, error)
    assert type(last) is dgnb.HandshakeError
    assert vars(last) == vars(error)
    assert last.__suppress_context__, "a notebook would print the same text twice"
    assert str(error) == "refused"
    assert str(last).startswith("refused The server asks for a wait")


def tried(retry: Retry) -> tuple[int, float, str]:
    """How often a server that refuses is tried, for how long, and the last error's text."""
    now, tries = 0.0, 1
    while True:
        try:
            now += retry.delay(refused(), now)
        except dgnb.HandshakeError as error:
            return tries, now, str(error)
        tries += 1


@pytest.mark.parametrize("reached", [False, True])
def test_a_server_is_tried_until_patience_ends(reached: bool) -> None:
    retry = Retry(600)
    if reached:
        retry.opened()
    tries, seconds, told = tried(retry)
    assert 585 < seconds <= 600
    assert 50 < tries < 65
    assert f"Tried {tries} times" in told


def test_a_server_that_never_answered_may_have_a_limit_of_its_own() -> None:
    tries, seconds, told = tried(Retry(600, unanswered=60.0))
    assert 40 < seconds <= 60
    assert f"Tried {tries} times" in told
    answered = Retry(600, unanswered=60.0)
    busy = dgnb.HandshakeError("busy", status=503, transient=True)
    assert answered.delay(busy, 0.0) + answered.delay(busy, 100.0) < 600


def test_what_fails_before_a_server_answers_is_tried_again_only_where_it_was_reached_before() -> None:
    """As TLS that breaks off: a wrong port, or a proxy and a gateway that restart."""
    error = refused(transient=False)
    retry = Retry(600)
    assert ended(retry, error) is error
    retry.opened()
    for now in range(3):
        retry.delay(error, float(now))
    wrong_key = dgnb.AuthenticationError("refused", status=401)
    assert ended(retry, wrong_key) is wrong_key


def test_the_server_says_how_long_to_wait() -> None:
    assert 7.0 <= Retry(600).delay(refused(retry_after=7.0), 0.0) <= 7.5


def test_a_server_that_asks_for_more_time_than_there_is_ends_the_tries() -> None:
    assert "3600 s" in str(ended(Retry(600), refused(retry_after=3600.0)))


def test_three_connections_that_end_at_once_end_the_tries() -> None:
    retry = Retry(600)
    retry.opened()
    retry.delay(lost(1011), 0.0, uptime=0.1)
    retry.delay(lost(1011), 1.0, uptime=4.9)
    assert "3 times" in str(ended(retry, lost(1011), 2.0, uptime=0.1))


def test_a_final_resets_the_count_of_short_connections() -> None:
    retry = Retry(600)
    for now in range(20):
        retry.delay(lost(1011), now, uptime=0.1)
        retry.final()


FAULTS = {
    "1000": lost(1000),
    "1012": lost(1012),
    "NET-0000": lost(1011, "NET-0000"),
    "NET-0001": lost(1011, "NET-0001"),
    "silence": connection_lost(1006, gave_up=GaveUp.SILENT),
    "4400": lost(4400, "invalid session"),
}


def kept_trying(retry: Retry, error: dgnb.ConnectionLost) -> float:
    """For how long a connection is opened again that is lost each time after a second."""
    now = 0.0
    while True:
        retry.opened()
        try:
            now += retry.delay(error, now, uptime=1.0) + 1.0
        except dgnb.ConnectionLost:
            return now


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_final_only_the_time_without_another_one_counts(fault: str) -> None:
    retry = Retry(600)
    retry.final()
    assert 580 < kept_trying(retry, FAULTS[fault]) < 605


@pytest.mark.parametrize("fault", FAULTS)
def test_a_connection_that_held_for_a_minute_begins_the_count_anew(fault: str) -> None:
    retry = Retry(600)
    retry.opened()
    retry.final()
    for now in range(0, 6000, 300):
        retry.delay(FAULTS[fault], now, uptime=299.0)


def test_a_network_that_breaks_again_and_again_before_the_first_final_is_tried_until_patience_ends() -> None:
    assert 580 < kept_trying(Retry(600), lost(1006)) < 605


def test_a_connection_that_opens_does_not_shorten_the_waits() -> None:
    retry = Retry(600)
    for _ in range(4):
        retry.opened()
        retry.delay(refused(), 0.0)
    assert retry.delay(refused(), 0.0) >= 10


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
            backoff.times.append(now)
            times.append(now)
        assert sum(time < 60 for time in times) <= 8
        assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(times[8:]))


@pytest.mark.parametrize("paused", [7.0, 40.0])
def test_a_try_counts_from_when_it_takes_place_because_a_pause_may_come_before_it(paused: float) -> None:
    for _ in range(500):
        retry, now, times = Retry(600), 0.0, []
        while now < 200:
            now += retry.delay(refused(), now) + (0.0 if times else paused)
            retry.begun(now)
            times.append(now)
        assert sum(time < times[0] + 60 for time in times) <= 8


def test_no_two_waits_are_the_same() -> None:
    assert len({Backoff().next(0.0) for _ in range(50)}) == 50
