"""Nothing is lost: sessions with seeded faults on virtual time, checked against the invariants."""

from __future__ import annotations

import pytest

import dgnb
from dgnb.session.stop import REPLAY
from tests.support.sim import scenarios
from tests.support.sim.faults import STORM, Fault, Plan, flux_plan, plan
from tests.support.sim.network import MemorySocket
from tests.support.sim.run import Outcome, run

# Beside the first ones: a pause before the first try, and a close that is lost on a line that went dead.
SEEDS = (*range(150), 4592, 4070)


def assert_well(outcome: Outcome) -> None:
    assert not outcome.violations, f"\n{outcome}"


@pytest.mark.parametrize("seed", SEEDS)
def test_after_any_faults_each_word_is_there_once_with_its_time(seed: int) -> None:
    assert_well(run(plan(seed)))


@pytest.mark.parametrize("seed", range(20))
def test_after_any_faults_each_turn_of_flux_is_there_once_with_its_words(seed: int) -> None:
    assert_well(run(flux_plan(seed)))


@pytest.mark.parametrize("live", [False, True])
def test_a_server_of_flux_that_falls_silent_or_never_says_that_it_is_ready_costs_no_word(live: bool) -> None:
    faults = (Fault(8.0, "mute"), Fault(30.0, "refuse", 0, ("mute",)))
    outcome = run(Plan("silent", tuple(range(1, 150)), live, faults, flux=True))
    assert_well(outcome)
    assert outcome.session.transcript.word_count == 149


@pytest.mark.parametrize("seed", range(0, 200, 10))
def test_a_recording_holds_what_was_captured_and_each_word_at_its_time(seed: int) -> None:
    assert_well(run(plan(seed), record=True))


def test_without_a_fault_there_is_one_connection() -> None:
    for live in (False, True):
        outcome = run(Plan(f"calm {live}", tuple(range(1, 60)), live, (), audit=True))
        assert_well(outcome)
        assert len(outcome.network.attempts) == 1
        assert outcome.session.transcript.word_count == 59


@pytest.mark.parametrize("seed", [3, 8, 39, 73])
def test_the_same_seed_gives_the_same_run(seed: int) -> None:
    assert len({run(plan(seed)).trace for _ in range(3)}) == 1


@pytest.mark.parametrize("code", [1001, 1006, 1011, 1012, 1013, 1014, 4000, 4999])
def test_after_a_transient_close_code_it_goes_on(code: int) -> None:
    outcome = scenarios.closing(code, code)
    assert_well(outcome)
    assert outcome.session.error is None
    assert len(outcome.network.attempts) == 3


@pytest.mark.parametrize("code", [1002, 1003, 1007, 1008, 1009, 1010])
def test_after_a_fatal_close_code_it_ends_with_one_error(code: int) -> None:
    outcome = scenarios.closing(code)
    assert_well(outcome)
    assert isinstance(outcome.session.error, dgnb.ConnectionLost)
    assert len(outcome.network.attempts) == 1
    assert outcome.session.transcript.word_count
    assert not outcome.session.transcript.gaps.empty


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1011, "NET-0000: no text"), (1011, "NET-0001"), (1012, "")])
def test_a_server_that_closes_again_after_it_sent_finals_is_not_given_up(code: int, reason: str) -> None:
    outcome = scenarios.closing(code, code, code, reason=reason)
    assert_well(outcome)
    assert outcome.session.error is None
    assert len(outcome.network.attempts) == 4


def test_a_server_that_accepts_and_closes_is_given_up_after_three_times() -> None:
    outcome = scenarios.closing(*[1011] * 9, after=0.5, interval=0.5)
    assert_well(outcome)
    assert len(outcome.network.attempts) == 3
    assert "3 times" in str(outcome.session.error)


@pytest.mark.parametrize("answer", ["500", "502", "503", "504", "429", "429+2", "408", "refused", "hangs"])
def test_a_transient_refusal_is_tried_again(answer: str) -> None:
    for outcome in (scenarios.refusing(answer, answer), scenarios.refusing(answer, answer, first=False)):
        assert_well(outcome)
        assert outcome.session.error is None
        assert outcome.session.transcript.word_count == 30


def test_retry_after_is_obeyed() -> None:
    outcome = scenarios.refusing("429+3", "429+3", first=False)
    assert_well(outcome)
    (_, first), (at, second), (again, _) = outcome.network.attempts[:3]
    assert (first, second) == ("open", "429+3")
    assert 3.0 <= again - at <= 4.0


@pytest.mark.parametrize("answer", ["400", "401", "402", "403", "404", "302"])
def test_a_permanent_refusal_ends_the_session_with_one_error(answer: str) -> None:
    first, later = scenarios.refusing(answer), scenarios.refusing(answer, first=False)
    for outcome, tries in ((first, 1), (later, 2)):
        assert_well(outcome)
        assert isinstance(outcome.session.error, dgnb.HandshakeError)
        assert outcome.session.error.status == int(answer)
        assert len(outcome.network.attempts) == tries
    assert later.session.transcript.word_count
    assert later.session.transcript.gaps["end"].max() == pytest.approx(later.books.ledger.captured / 32_000)


def test_ten_minutes_without_a_network_lose_only_the_audio_that_is_not_kept() -> None:
    outcome = scenarios.a_long_outage()
    assert_well(outcome)
    gaps = outcome.session.transcript.gaps
    assert len(gaps) == 1
    assert 470 < (gaps["end"] - gaps["start"]).sum() < 500
    assert "kept in memory" in gaps["reason"][0]


@pytest.mark.parametrize("clock_goes_on", [False, True])
def test_a_laptop_that_sleeps_for_two_hours_costs_one_connection(clock_goes_on: bool) -> None:
    outcome = scenarios.a_sleep(clock_goes_on=clock_goes_on)
    assert_well(outcome)
    assert len(outcome.network.attempts) == 2
    assert outcome.session.transcript.word_count == 150
    # Nothing of the two hours is waited for or sent afterwards.
    assert outcome.ended - outcome.started < 75 + 7200 * clock_goes_on
    told = " ".join(outcome.session.transcript.events["text"])
    assert ("was busy for 7" if clock_goes_on else "was asleep from") in told


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize(
    ("faults", "first"),
    [
        ((), ()),
        ((), ("hangs",)),
        ((), ("503", "503")),
        ((Fault(9.8, "pause", 60),), ()),
        ((Fault(9.9, "reset"),), ()),
        ((Fault(9.0, "refuse", 0, ("503",) * 9),), ()),
        ((Fault(9.0, "refuse", 0, ("hangs",) * 9),), ()),
        ((Fault(9.0, "replay", 0.9),), ()),
        ((Fault(9.5, "hold"),), ()),
        ((Fault(9.5, "blackhole"),), ()),
        ((Fault(9.5, "swallow", 9),), ()),
        ((Fault(9.0, "block", 8.0),), ()),
        ((Fault(10.1, "reset"),), ()),
        ((Fault(10.1, "close", 1012),), ()),
        ((Fault(10.05, "blackhole"),), ()),
        ((Fault(10.0, "block", 8.0),), ()),
    ],
    ids=lambda value: "+".join(str(getattr(one, "kind", one)) for one in value) if isinstance(value, tuple) else None,
)
def test_stop_takes_at_most_5_s_and_nothing_follows(
    live: bool, faults: tuple[Fault, ...], first: tuple[str, ...]
) -> None:
    at = 0.4 if first else 10.0
    outcome = run(Plan("stop", tuple(range(1, 100)), live, faults, first=first, stop_at=at, latency=0.15))
    assert_well(outcome)
    assert outcome.stop_took is not None
    # What is captured at the stop is still sent: 10 s, and 3 s at the catch-up pace of what a blocked cell left.
    assert outcome.session.transcript.word_count < 26 + REPLAY * 1.2 / 0.4


@pytest.mark.parametrize("outage", [8.0, 25.0])
def test_a_stop_while_behind_sends_what_time_allows_and_the_rest_is_a_gap(outage: float) -> None:
    fault, at, sent = Fault(10.0, "down", outage, ("refused",)), 22.2 + outage, []

    def look(outcome: Outcome) -> None:
        outcome.loop.call_later(at, lambda: sent.append(outcome.books.ledger.sent))

    outcome = run(Plan("behind", tuple(range(1, 200)), True, (fault,), stop_at=at), inject=look)
    assert_well(outcome)
    ledger, gaps = outcome.books.ledger, outcome.session.transcript.gaps
    assert ledger.captured / 32_000 == pytest.approx(at, abs=0.11)
    assert (ledger.sent - sent[0]) / 32_000 == pytest.approx(REPLAY * 1.2, abs=0.3)
    assert gaps["end"].max() == ledger.captured / 32_000
    assert gaps["start"].min() == outcome.books.acknowledged / 32_000


@pytest.mark.parametrize("live", [False, True])
def test_a_server_that_does_not_close_is_closed_from_this_side(live: bool) -> None:
    def linger(outcome: Outcome) -> None:
        def opened(socket: MemorySocket) -> None:
            socket.core.lingers = True

        outcome.network.on_open.append(opened)

    outcome = run(Plan("lingers", tuple(range(1, 20)), live, ()), inject=linger)
    assert_well(outcome)
    assert outcome.session.error is None


@pytest.mark.parametrize("seconds", [0.02, 0.3, 0.9])
def test_a_line_that_dies_as_the_source_ends_costs_no_word(seconds: float) -> None:
    outcome = run(Plan("end", tuple(range(1, 26)), False, (Fault(10.0 - seconds, "reset"),)))
    assert_well(outcome)
    assert outcome.session.transcript.word_count == 25
    assert outcome.session.error is None


@pytest.mark.parametrize("manner", ["astride", "silent", "shuffled", "late"])
@pytest.mark.parametrize("live", [False, True])
def test_servers_of_other_manners_cost_no_word(manner: str, live: bool) -> None:
    said = (*range(1, 30), *(0,) * 50, *range(80, 140))
    faults = () if manner == "astride" else (Fault(6.1, "reset"), Fault(40.2, "close", 1012), Fault(45.0, "reset"))
    outcome = run(Plan(f"manner {manner}", said, live, faults, manner=manner))
    assert_well(outcome)
    assert outcome.session.transcript.word_count == 89


@pytest.mark.parametrize("interval", [0.1, 2.5])
def test_a_storm_of_closes_costs_no_word(interval: float) -> None:
    outcome = run(Plan("storm", tuple(range(1, 120)), True, (Fault(12.0, "storm", interval, STORM),)))
    assert_well(outcome)
    assert len(outcome.network.sockets) == len(STORM) + 2
    assert outcome.session.transcript.word_count == 119


def test_a_stop_while_behind_leaves_nothing_unsent_to_a_server_on_this_machine() -> None:
    fault = Fault(10.0, "down", 25.0, ("refused",))
    outcome = run(Plan("behind", tuple(range(1, 200)), True, (fault,), stop_at=47.2, local=True))
    assert_well(outcome)
    assert outcome.session.transcript.gaps.empty
    assert outcome.books.ledger.captured / 32_000 == pytest.approx(47.2, abs=0.11)
    assert outcome.stop_took < 5


@pytest.mark.parametrize("at", [3.1, 20.0, 39.9])
def test_a_retry_after_an_end_costs_no_word(at: float) -> None:
    faults = (Fault(at, "close", 1008), Fault(at + 12, "close", 1008))
    outcome = run(Plan("retry", tuple(range(1, 101)), False, faults, retry=5.0))
    assert_well(outcome)
    assert outcome.retried == 1 + (at < 39)
    assert outcome.session.transcript.word_count == 100
    assert outcome.session.transcript.gaps.empty
