"""The simulator itself: its loop, its audio, its fake Deepgram, and its oracle."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import pytest
from websockets.frames import Close

from dgnb.messages import CloseStream, Finalize, KeepAlive, encode
from tests.support.sim.audio import BLOCK, Reader, WordSource, block, wav
from tests.support.sim.check import compare
from tests.support.sim.fake import Core
from tests.support.sim.faults import plan
from tests.support.sim.flux import FluxCore
from tests.support.sim.loop import Stuck, VirtualLoop
from tests.support.sim.run import run

TENTH = 3_200


def heard(core: Core) -> list[Any]:
    return [what if isinstance(what, Close) else json.loads(what) for _, what in core.out]


def spoken(*words: int) -> list[bytes]:
    audio = b"".join(block(word) for word in words)
    return [audio[at : at + TENTH] for at in range(0, len(audio), TENTH)]


def fed(core: Core, chunks: list[bytes], start: float = 0.0) -> float:
    for number, chunk in enumerate(chunks):
        core.binary(chunk, start + 0.1 * number)
    return start + 0.1 * len(chunks)


# The loop


def test_virtual_time_passes_at_once_and_in_order() -> None:
    loop, seen = VirtualLoop(), []

    async def late(seconds: float) -> None:
        await asyncio.sleep(seconds)
        seen.append((seconds, loop.time()))

    async def main() -> None:
        await asyncio.gather(late(3600), late(0.5), late(7.25))

    loop.run_until_complete(main())
    loop.close()
    assert seen == [(0.5, 1000.5), (7.25, 1007.25), (3600, 4600)]


def test_a_blocked_loop_runs_nothing_until_it_is_free() -> None:
    loop = VirtualLoop()

    async def main() -> float:
        loop.call_later(1.0, loop.block, 60.0)
        await asyncio.sleep(2.0)
        return loop.time()

    assert loop.run_until_complete(main()) == 1061.0
    assert loop.blocked == [(1001.0, 1061.0)]
    loop.close()


def test_waiting_for_something_that_never_comes_raises_stuck() -> None:
    loop = VirtualLoop()
    task = loop.create_task(asyncio.Event().wait())
    with pytest.raises(Stuck):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


# The audio


@pytest.mark.parametrize("size", [1, 2, 333, 3_200, 50_000])
def test_words_are_read_from_pieces_of_any_size(size: int) -> None:
    audio = b"".join(block(word) for word in (1, 2, 0, 0, 70_000, 3))
    reader, tokens = Reader(), []
    for at in range(0, len(audio), size):
        tokens += reader.feed(audio[at : at + size])
    tokens += reader.flush()
    assert [word for word, _, _ in tokens] == [1, 2, 0, 0, 70_000, 3]
    assert [start for _, start, _ in tokens] == [BLOCK * number for number in range(6)]


@pytest.mark.parametrize("cut", [2, 318, 4_000, 12_798])
def test_a_word_that_was_cut_is_no_word_and_the_next_one_is(cut: int) -> None:
    audio = block(1)[cut:] + block(2) + block(3)[:cut] + block(4) + block(5)
    reader = Reader()
    tokens = reader.feed(audio) + reader.flush()
    assert [word for word, _, _ in tokens if word > 0] == [2, 4, 5]
    assert [start for _, start, _ in tokens] == [0, *(end for _, _, end in tokens[:-1])]
    assert tokens[-1][2] == len(audio)


def test_one_flipped_bit_costs_the_word() -> None:
    audio = bytearray(block(1) + block(2) + block(3))
    audio[BLOCK + 777] ^= 1
    reader = Reader()
    assert [word for word, _, _ in reader.feed(bytes(audio)) + reader.flush() if word > 0] == [1, 3]


def test_a_live_source_goes_on_and_loses_nothing_when_nobody_takes_it() -> None:
    loop, source = VirtualLoop(), WordSource([1, 2, 3], live=True)

    async def main() -> list[float]:
        audio = await source.open()
        await asyncio.sleep(0.65)
        return [loop.time() - 1000 async for _ in audio]

    times = loop.run_until_complete(main())
    loop.close()
    assert times == pytest.approx([0.65] * 6 + [0.7, 0.8, 0.9, 1.0, 1.1, 1.2])
    assert len(wav([1, 2])) == 44 + 2 * BLOCK


# The fake Deepgram


def test_finals_tile_the_audio_that_arrived_and_metadata_sums_it_up() -> None:
    core = Core(random.Random(1), 0.0, audit=True, interims=True)
    end = fed(core, spoken(*range(1, 30), 0, 0, 30))
    core.text(encode(CloseStream()), end)
    *results, metadata, close = heard(core)
    finals = [result for result in results if result["is_final"]]
    assert len(finals) < len(results)
    assert " ".join(final["channel"]["alternatives"][0]["transcript"] for final in finals if final).split() == [
        f"w{word}" for word in range(1, 31)
    ]
    ends = [final["start"] + final["duration"] for final in finals]
    assert [final["start"] for final in finals] == pytest.approx([0.0, *ends[:-1]])
    assert metadata["duration"] == pytest.approx(12.8) == pytest.approx(ends[-1])
    assert len(metadata["sha256"]) == 64
    assert close == Close(1000, "")
    assert not core.violations
    due = [at for at, _ in core.out]
    assert due == sorted(due)


def test_silence_gets_an_empty_final() -> None:
    core = Core(random.Random(1), 0.0)
    core.text(encode(CloseStream()), fed(core, spoken(0, 0, 0)))
    assert {final["channel"]["alternatives"][0]["transcript"] for final in heard(core)[:-2]} == {""}


def test_finalize_gives_a_final_of_what_is_there() -> None:
    core = Core(random.Random(4), 0.0)
    core._blocks = 15
    core.text(encode(Finalize()), fed(core, spoken(1, 2)))
    (final,) = heard(core)
    assert final["from_finalize"]
    assert final["channel"]["alternatives"][0]["transcript"] == "w1 w2"


@pytest.mark.parametrize(
    ("act", "violation", "code"),
    [
        (lambda core: core.binary(b"", 1.0), "empty binary frame", 1000),
        (lambda core: core.binary(b'{"type":"KeepAlive"}', 1.0), "control as a binary", 1008),
        (lambda core: core.text('{"type":"Hello"}', 1.0), "unknown text", None),
        (lambda core: core.text("KeepAlive", 1.0), "unknown text", None),
        (lambda core: core.advance(10.95), "neither audio nor a KeepAlive", 1011),
    ],
)
def test_what_deepgram_refuses_is_refused(act: Any, violation: str, code: int | None) -> None:
    core = Core(random.Random(1), 0.0)
    fed(core, spoken(1, 2), 0.1)
    act(core)
    assert violation in core.violations[0]
    closes = [what.code for what in heard(core) if isinstance(what, Close)]
    assert closes == ([code] if code else [])


def test_nothing_is_taken_after_close_stream() -> None:
    core = Core(random.Random(1), 0.0)
    core.text(encode(CloseStream()), 1.0)
    core.closed = False
    core.binary(block(1), 1.1)
    core.text(encode(KeepAlive()), 1.2)
    assert [what.rpartition(" after ")[2] for what in core.violations] == ["CloseStream"] * 2


def test_a_keep_alive_keeps_it_but_does_not_stand_in_for_the_first_audio() -> None:
    core, silent = Core(random.Random(1), 0.0), Core(random.Random(1), 0.0)
    core.binary(block(1), 0.0)
    for second in range(0, 60, 9):
        core.text(encode(KeepAlive()), float(second))
        silent.text(encode(KeepAlive()), float(second))
    assert not core.violations
    assert silent.violations == ["NET-0001: no audio came within 10 s of opening, at 10.000"]


def test_the_meter_takes_a_quarter_more_than_real_time_and_not_a_third() -> None:
    for pace, well in ((1.2, True), (1.25, True), (1.4, False)):
        core = Core(random.Random(1), 0.0, meter=True)
        for number in range(200):
            core.binary(bytes(TENTH), number * 0.1 / pace)
        assert (not core.violations) is well


# The oracle

SAID = (1, 2, 0, 4, 5, 6)
ROWS = [(1, 0.0, 0.36), (2, 0.4, 0.76), (4, 1.2, 1.56), (5, 1.6, 1.96), (6, 2.0, 2.36)]


def test_the_oracle_finds_nothing_where_nothing_is_wrong() -> None:
    assert compare(SAID, 2.4, ROWS, [])[0] == []
    assert compare(SAID, 2.2, ROWS[:-1], [])[0] == []
    assert compare(SAID, 2.4, ROWS[:1] + ROWS[2:], [(0.4, 0.8)])[0] == []


@pytest.mark.parametrize(
    ("rows", "gaps", "found"),
    [
        (ROWS[:2] + ROWS[3:], [], "INV3 lost: w4"),
        (ROWS[:2] + ROWS[3:], [(1.7, 1.8)], "INV3 lost: w4"),
        (ROWS[:-1], [], "INV3 lost: w6"),
        ([*ROWS, ROWS[-1]], [], "INV3 doubled: w6"),
        ([*ROWS, (7, 2.0, 2.3)], [], "INV3 unexpected: w7"),
        ([*ROWS[:3], (5, 1.63, 1.99), ROWS[4]], [], "INV4 w5 at 1.630 s is off by -0.030"),
        ([*ROWS[:3], (5, 1.57, 1.93), ROWS[4]], [], "INV4 w5 at 1.570 s is off by 0.030"),
        ([ROWS[1], ROWS[0], *ROWS[2:]], [], "INV5 w1 starts at 0.000 s, after"),
        ([*ROWS[:4], (6, 2.0, 2.45)], [], "INV5 w6 from 2.000 to 2.450"),
    ],
)
def test_the_oracle_finds_what_is_planted(rows: Any, gaps: Any, found: str) -> None:
    assert any(what.startswith(found) for what in compare(SAID, 2.4, rows, gaps)[0])


def test_audio_that_is_skipped_in_a_pause_takes_no_time_and_only_there() -> None:
    later = [(4, 0.8, 1.16), (5, 1.2, 1.56), (6, 1.6, 1.96)]
    assert compare(SAID, 2.0, [*ROWS[:2], *later], [], [(0.7, 1.3)], 2.4)[0] == []
    assert compare(SAID, 2.0, [*ROWS[:2], *later], [], [(1.9, 2.0)], 2.4)[0] != []


@pytest.mark.parametrize("broken", ["replays too little", "begins elsewhere"])
def test_a_wrong_ledger_is_found(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from dgnb.session import capture

    class Cheat(capture.Ledger):
        def rewind(self, reason: str) -> None:
            if broken == "replays too little":
                self.acknowledged = min(self.sent, self.acknowledged + BLOCK)
            super().rewind(reason)

        def begin(self) -> int:
            given = super().begin()
            return given + TENTH if broken == "begins elsewhere" and given else given

    monkeypatch.setattr(capture, "Ledger", Cheat)
    found = [what for seed in range(12) for what in run(plan(seed)).violations]
    assert found


def test_flux_says_turns_in_order_and_closes_without_a_code() -> None:
    core = FluxCore(random.Random(3), 0.0)
    now = fed(core, spoken(1, 2, 0, 3, 0, 0, 0, 4))
    core.text('{"type":"ForceEndTurn"}', now)
    core.text('{"type":"ForceEndTurn"}', now)
    core.text('{"type":"CloseStream"}', now)
    messages = [json.loads(what) for _, what in core.out if isinstance(what, str)]
    assert [message["sequence_id"] for message in messages] == list(range(len(messages)))
    assert messages[0]["type"] == "Connected"
    ends = [message for message in messages if message.get("event") == "EndOfTurn"]
    assert " ".join(end["transcript"] for end in ends) == "w1 w2 w3 w4"
    assert [end["turn_index"] for end in ends] == list(range(len(ends)))
    assert ends[-1]["trigger"] == "manual"
    assert messages[-1]["code"] == "FORCE_END_TURN_NO_ACTIVE_TURN"
    assert core.out[-1][1] == Close(1005, "")
    assert not core.violations


def test_flux_bears_a_pause_with_pings_and_no_keep_alive() -> None:
    core = FluxCore(random.Random(3), 0.0)
    for now in (59.0, 118.0):
        core.ping(now)
    core.advance(177.9)
    assert not core.closed
    core.text('{"type":"KeepAlive"}', 177.95)
    assert core.closed
    assert "unknown text" in core.violations[0]
