"""Audio between a source and a connection: how far ahead it is read, what a pause holds, what a close costs."""

from __future__ import annotations

import asyncio
import contextlib
import math
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dgnb import Transcript
from dgnb.audio import Audio, AudioSource
from dgnb.exceptions import AudioError
from dgnb.session.capture import Capture
from tests.support.waiting import until

TENTH = bytes(3200)


class Source(AudioSource):
    """Gives its chunks at once, and counts those that were taken. It closes once `may_close` is set."""

    name = "a source"

    def __init__(self, chunks: list[bytes], **said: Any) -> None:
        self.taken = 0
        self.may_close = asyncio.Event()
        self.may_close.set()
        self._chunks = chunks
        self._said = said

    async def open(self, *, multichannel: bool = False) -> Audio:
        async def chunks() -> AsyncIterator[bytes]:
            for chunk in self._chunks:
                self.taken += 1
                yield chunk

        async def close() -> None:
            await self.may_close.wait()

        return Audio(chunks(), close, **self._said)


@asynccontextmanager
async def captured(source: Source, duration: float | None = None) -> AsyncIterator[Capture]:
    capture = Capture(source, Transcript(), duration, None)
    await capture.open(multichannel=False)
    try:
        yield capture
    finally:
        await capture.close()


def send(capture: Capture) -> int:
    """Send what there is, as a connection does. Returns how many chunks it was."""
    capture.ledger.begin()
    sent = 0
    while chunk := capture.ledger.peek():
        capture.send(chunk)
        sent += 1
    return sent


async def test_a_source_that_waits_is_read_two_chunks_ahead() -> None:
    source = Source([TENTH] * 50)
    async with captured(source) as capture:
        await until(lambda: source.taken == 2)
        for _ in range(10):
            await asyncio.sleep(0)
        assert (source.taken, capture.captured) == (2, 0.2)
        assert send(capture) == 2
        await until(lambda: source.taken == 4)
        assert capture.pending == 0.4


async def test_a_source_that_does_not_wait_is_read_at_once() -> None:
    async with captured(Source([TENTH] * 50, live=True)) as capture:
        await until(lambda: capture.ended)
        assert (capture.captured, capture.audio_cursor, capture.pending) == (5.0, 0.0, 5.0)


async def test_a_duration_ends_inside_a_chunk_at_a_whole_sample_of_all_channels() -> None:
    async with captured(Source([TENTH] * 50, live=True, channels=2), duration=0.12345) as capture:
        await until(lambda: capture.ended)
        assert capture.ledger.captured == round(0.12345 * 16_000) * 4


async def test_something_to_send_waits_for_the_end_of_a_pause_and_tells_the_end_of_the_source() -> None:
    async with captured(Source([TENTH])) as capture:
        await until(lambda: capture.ended)
        capture.pause()
        asked = asyncio.ensure_future(capture.something_to_send())
        for _ in range(5):
            await asyncio.sleep(0)
        assert not asked.done()
        capture.resume()
        assert await asked is True
        send(capture)
        assert await capture.something_to_send() is False


async def test_a_pause_of_a_live_source_ends_in_one_gap_that_takes_no_time() -> None:
    source = Source([TENTH] * 50, live=True)
    transcript = Transcript()
    capture = Capture(source, transcript, None, None)
    assert capture.resume() == ""
    capture.pause()
    await capture.open(multichannel=False)
    await until(lambda: capture.ended)
    text = capture.resume()
    await capture.close()
    assert text == f"{5.0 - capture.captured:.1f} s of the live stream were skipped in a pause"
    (gap,) = transcript.gaps.to_dict("records")
    assert gap == {"start": 0.0, "end": 0.0, "missed": pytest.approx(5.0 - capture.captured), "reason": text}
    assert capture.captured < 5.0
    assert capture.resume() == ""


@pytest.mark.parametrize(
    ("samples", "level"), [((0, 0), -math.inf), ((-32768, 0), 0.0), ((3277, -3277), pytest.approx(-20, abs=0.01))]
)
async def test_the_level_is_the_peak_below_full_scale(samples: tuple[int, int], level: float) -> None:
    async with captured(Source([struct.pack("<2h", *samples)])) as capture:
        await until(lambda: capture.ended)
        assert capture.level is None
        send(capture)
        assert capture.level == level


async def test_a_container_has_no_level() -> None:
    async with captured(Source([b"\x7f\x7f"], encoding=None, bytes_per_second=16_000.0)) as capture:
        await until(lambda: capture.ended)
        send(capture)
        assert capture.level is None


async def test_a_source_that_does_not_close_is_left_with_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dgnb.session.capture.RELEASE", 0.01)
    transcript = Transcript()
    source = Source([TENTH] * 9)
    source.may_close.clear()
    capture = Capture(source, transcript, None, None)
    await capture.open(multichannel=False)
    await asyncio.wait_for(capture.close(), 2.0)
    assert transcript.events["text"].tolist() == ["a source takes long to close, and is not waited for."]
    source.may_close.set()


async def test_a_source_that_does_not_open_is_left_and_closed_when_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dgnb.session.capture.RELEASE", 0.01)
    opened, closed = asyncio.Event(), asyncio.Event()

    class Stubborn(Source):
        async def open(self, *, multichannel: bool = False) -> Audio:
            while not opened.is_set():
                with contextlib.suppress(asyncio.CancelledError):
                    await opened.wait()
            audio = await super().open(multichannel=multichannel)

            async def close() -> None:
                closed.set()
                raise OSError("it is gone")

            return Audio(audio, close)

    transcript = Transcript()
    opening = asyncio.create_task(Capture(Stubborn([]), transcript, None, None).open(multichannel=False))
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(opening, 2.0)
    assert transcript.events["text"].tolist() == ["a source takes long to open, and is not waited for."]
    opened.set()
    await asyncio.wait_for(closed.wait(), 2.0)


async def test_an_open_that_is_cancelled_from_inside_is_the_sources_error() -> None:
    class Cancelled(Source):
        async def open(self, *, multichannel: bool = False) -> Audio:
            raise asyncio.CancelledError

    with pytest.raises(AudioError, match="a source was cancelled from inside"):
        await Capture(Cancelled([]), Transcript(), None, None).open(multichannel=False)


async def test_a_source_that_fails_says_why_and_one_that_was_closed_does_not() -> None:
    class Unplugged(Source):
        async def open(self, *, multichannel: bool = False) -> Audio:
            audio = await super().open(multichannel=multichannel)

            async def chunks() -> AsyncIterator[bytes]:
                yield TENTH
                raise OSError("unplugged")

            return Audio(chunks(), audio.aclose)

    async with captured(Unplugged([])) as capture:
        await until(lambda: capture.ended)
        await until(lambda: capture.failure)
        assert str(capture.failure) == "unplugged"
    async with captured(Source([TENTH] * 9)) as capture:
        pass
    assert capture.failure is None
