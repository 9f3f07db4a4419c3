"""The ledger: captured = acknowledged + pending + gaps, at every step."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dgnb.session.ledger import Ledger, Lost

LATE = "more audio was waiting than is kept in memory"


def filled(*chunks: bytes, capacity: int = 100) -> Ledger:
    ledger = Ledger(capacity, 2, 4)
    for chunk in chunks:
        ledger.capture(chunk)
    ledger.begin()
    return ledger


def given_out(ledger: Ledger) -> bytes:
    out = b""
    while chunk := ledger.peek():
        out += chunk
        ledger.advance(len(chunk))
    return out


def test_audio_is_sent_once_and_in_order() -> None:
    ledger = filled(b"aabb", b"ccdd")
    assert given_out(ledger) == b"aabbccdd"
    assert ledger.peek() == b""
    assert (ledger.sent, ledger.pending, ledger.unsent) == (8, 8, 0)


def test_a_new_connection_begins_where_the_last_final_ended() -> None:
    ledger = filled(b"aabb", b"ccdd")
    given_out(ledger)
    ledger.acknowledge(6)
    ledger.rewind("the line went dead")
    assert ledger.sent == 6
    assert given_out(ledger) == b"dd"
    assert not ledger.gaps


def test_a_connection_begins_at_a_whole_frame() -> None:
    ledger = filled(b"aabb", b"ccdd")
    given_out(ledger)
    ledger.acknowledge(5)
    ledger.rewind("")
    assert ledger.sent == 4


def test_a_final_covers_at_most_the_audio_that_was_sent() -> None:
    ledger = filled(b"aabb", b"ccdd")
    ledger.advance(4)
    ledger.acknowledge(1000)
    assert ledger.acknowledged == 4
    assert ledger.peek() == b"ccdd"


def test_a_final_never_moves_back_what_an_earlier_one_covered() -> None:
    ledger = filled(b"aabb", b"ccdd")
    given_out(ledger)
    ledger.acknowledge(6)
    ledger.acknowledge(2)
    assert ledger.acknowledged == 6


def test_without_a_connection_the_oldest_audio_is_dropped_and_is_a_gap() -> None:
    ledger = filled(b"aabb", b"ccdd", b"eeff", capacity=8)
    ledger.rewind("")
    assert ledger.gaps == [Lost(0, 4, LATE)]
    ledger.capture(b"gghh")
    assert ledger.gaps == [Lost(0, 8, LATE)]
    assert given_out(ledger) == b"eeffgghh"


def test_audio_that_was_sent_is_lost_only_with_its_connection() -> None:
    ledger = filled(b"aabb", b"ccdd", capacity=8)
    given_out(ledger)
    ledger.capture(b"eeff")
    assert not ledger.gaps
    ledger.acknowledge(2)
    ledger.rewind("the line went dead")
    assert ledger.gaps == [Lost(2, 4, "the line went dead")]
    assert given_out(ledger) == b"ccddeeff"


def test_a_connection_is_torn_when_the_audio_that_it_would_get_next_is_lost() -> None:
    ledger = filled(b"aabb", b"ccdd", b"eeff", capacity=12)
    ledger.advance(4)
    for chunk in (b"gghh", b"iijj"):
        ledger.capture(chunk)
    assert ledger.torn
    assert ledger.peek() == b""
    assert ledger.gaps == [Lost(4, 14, LATE)]
    ledger.acknowledge(4)
    ledger.settle(0, "no final came")
    ledger.rewind("")
    assert not ledger.torn
    assert given_out(ledger) == b"hhiijj"
    assert ledger.gaps == [Lost(4, 14, LATE)]


def test_a_torn_connection_that_is_lost_also_loses_the_audio_it_was_sent() -> None:
    ledger = filled(b"aabb", b"ccdd", b"eeff", capacity=12)
    ledger.advance(4)
    for chunk in (b"gghh", b"iijj"):
        ledger.capture(chunk)
    ledger.rewind("the line went dead")
    assert ledger.gaps == [Lost(0, 4, "the line went dead"), Lost(4, 14, LATE)]


def test_up_to_slack_bytes_at_the_end_need_no_final() -> None:
    ledger = filled(b"aabb", b"ccdd")
    given_out(ledger)
    ledger.acknowledge(6)
    ledger.settle(2, "no final came")
    assert (ledger.acknowledged, ledger.gaps) == (8, [])


def test_more_than_slack_bytes_without_a_final_are_a_gap() -> None:
    ledger = filled(b"aabb", b"ccdd")
    given_out(ledger)
    ledger.acknowledge(4)
    ledger.settle(2, "no final came")
    assert ledger.gaps == [Lost(4, 8, "no final came")]


def test_pending_audio_at_the_end_is_a_gap() -> None:
    ledger = filled(b"aabb", b"ccdd")
    ledger.advance(4)
    ledger.acknowledge(2)
    ledger.close("stopped")
    assert ledger.gaps == [Lost(2, 8, "stopped")]
    assert (ledger.pending, ledger.sent) == (0, 4)


def test_a_ledger_that_was_closed_can_go_on_where_the_last_final_ended() -> None:
    ledger = filled(b"aabb", b"ccdd")
    given_out(ledger)
    ledger.acknowledge(2)
    ledger.close("stopped")
    assert ledger.new_gaps() == [Lost(2, 8, "stopped")]
    assert ledger.reopen() == Lost(2, 8, "stopped")
    assert (ledger.gaps, ledger.new_gaps(), ledger.pending) == ([], [], 6)
    ledger.begin()
    ledger.capture(b"ee")
    assert given_out(ledger) == b"bbccddee"


def test_what_was_given_back_can_be_captured_again() -> None:
    ledger = filled(b"aabb", b"ccdd")
    ledger.advance(4)
    ledger.advance(2)
    ledger.acknowledge(4)
    ledger.give_back()
    ledger.close("stopped")
    assert ledger.reopen() == Lost(4, 6, "stopped")
    ledger.begin()
    ledger.capture(b"dd")
    assert given_out(ledger) == b"ccdd"


def test_audio_that_was_not_sent_can_be_given_back() -> None:
    ledger = filled(b"aabb", b"ccdd")
    ledger.advance(4)
    ledger.acknowledge(4)
    ledger.give_back()
    ledger.close("stopped")
    assert (ledger.captured, ledger.gaps) == (4, [])


def test_audio_that_was_sent_before_a_loss_is_not_given_back() -> None:
    ledger = filled(b"aabb", b"ccdd", b"eeff")
    ledger.advance(4)
    ledger.advance(4)
    ledger.rewind("the line went dead")
    ledger.give_back()
    ledger.close("stopped")
    assert (ledger.captured, ledger.gaps) == (8, [Lost(0, 8, "stopped")])


class Conservation(RuleBasedStateMachine):
    """After any steps each byte is in one of three places, and the audio is sent as it was captured."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = Ledger(60, 2, 10)
        self.audio = b""
        self.begun = 0
        self.open = False
        self.before: tuple[int, list[Lost]] = (0, [])
        self.covered: set[int] = set()

    @rule(size=st.integers(1, 15))
    def capture(self, size: int) -> None:
        chunk = bytes((len(self.audio) + i) % 251 for i in range(2 * size))
        self.audio += chunk
        self.ledger.capture(chunk)

    @precondition(lambda self: self.open)
    @rule(part=st.floats(0, 1))
    def send(self, part: float) -> None:
        chunk = self.ledger.peek()
        # A connection takes a chunk whole, but nothing here depends on it.
        chunk = chunk[: 2 * round(part * len(chunk) / 2)]
        assert chunk == self.audio[self.ledger.sent : self.ledger.sent + len(chunk)]
        self.ledger.advance(len(chunk))

    @precondition(lambda self: self.open)
    @rule(part=st.floats(0, 1.5))
    def final(self, part: float) -> None:
        self.ledger.acknowledge(self.begun + int(part * (self.ledger.sent - self.begun)))

    @rule()
    def lose(self) -> None:
        self.ledger.rewind("lost")
        assert self.ledger.sent == self.ledger.acknowledged
        self.open = False

    @precondition(lambda self: not self.open)
    @rule()
    def connect(self) -> None:
        self.begun = self.ledger.begin()
        self.open = True

    @precondition(lambda self: self.open)
    @rule(slack=st.integers(0, 10))
    def finish_connection(self, slack: int) -> None:
        self.ledger.settle(slack, "no final came")
        self.lose()

    @rule()
    def end_and_go_on(self) -> None:
        self.ledger.close("closed")
        assert self.ledger.pending == 0
        lost = self.ledger.reopen()
        assert lost is None or lost.end == self.ledger.captured
        assert self.ledger.sent == self.ledger.acknowledged
        self.open = False

    def teardown(self) -> None:
        self.ledger.close("closed")
        assert self.ledger.pending == 0
        self.every_byte_is_in_one_place()
        self.nothing_moves_back()

    @invariant()
    def every_byte_is_in_one_place(self) -> None:
        ledger = self.ledger
        assert ledger.captured == len(self.audio)
        gaps = [set(range(gap.start, gap.end)) for gap in ledger.gaps]
        lost: set[int] = set().union(*gaps)
        assert sum(map(len, gaps)) == len(lost), "gaps overlap"
        assert ledger.gaps == sorted(ledger.gaps)
        assert all(gap.start < gap.end for gap in ledger.gaps)
        acknowledged = set(range(ledger.acknowledged)) - lost
        pending = set(range(ledger.acknowledged, ledger.captured)) - lost
        assert len(pending) == ledger.pending
        assert acknowledged | pending | lost == set(range(ledger.captured))

    @invariant()
    def nothing_moves_back(self) -> None:
        acknowledged, gaps = self.before
        assert self.ledger.acknowledged >= acknowledged
        lost = {i for gap in self.ledger.gaps for i in range(gap.start, gap.end)}
        assert lost >= {i for gap in gaps for i in range(gap.start, gap.end)}, "a gap was taken back"
        now = set(range(self.ledger.acknowledged)) - lost
        assert now >= self.covered, "what a final covered became a gap"
        self.covered = now
        self.before = (self.ledger.acknowledged, list(self.ledger.gaps))

    @invariant()
    def a_connection_gets_one_unbroken_stretch(self) -> None:
        if self.open and self.ledger.peek():
            assert not any(self.begun <= gap.start < self.ledger.sent for gap in self.ledger.gaps)

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.ledger.captured - self.ledger.kept <= 60


TestConservation: Any = Conservation.TestCase
TestConservation.settings = settings(max_examples=100, stateful_step_count=30, deadline=None, derandomize=True)


@given(st.lists(st.integers(1, 40), min_size=1), st.integers(2, 100))
@settings(deadline=None, derandomize=True)
def test_chunks_of_any_size_are_kept_or_lost_once(sizes: list[int], capacity: int) -> None:
    ledger = Ledger(capacity)
    for size in sizes:
        ledger.capture(bytes(size))
    lost = sum(gap.end - gap.start for gap in ledger.gaps)
    assert lost + ledger.unsent == sum(sizes)
