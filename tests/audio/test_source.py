"""How the samples of a source are described, and what every source has."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import dgnb
from dgnb.audio import Audio, AudioSource, BufferSource, FileSource, SourceFormat
from dgnb.exceptions import AudioError, ConfigurationError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "linear16"}, "sample_rate is missing"),
        ({"sample_rate": 16_000}, "encoding is missing"),
        ({"encoding": "linaer16", "sample_rate": 16_000}, "Did you mean 'linear16'"),
        ({"encoding": "nonsense", "sample_rate": 16_000}, "Use one of: linear16"),
        ({"encoding": "linear16", "sample_rate": 0}, "sample_rate is a positive whole number, not 0"),
        ({"encoding": "linear16", "sample_rate": 999}, "sample_rate is from 4000 to 384000, not 999"),
        ({"encoding": "mulaw", "sample_rate": 384_001}, "sample_rate is from 4000 to 384000, not 384001"),
        ({"encoding": "linear16", "sample_rate": "16 kHz"}, "sample_rate is a positive whole number, not '16 kHz'"),
        ({"encoding": "linear16", "sample_rate": 16_000, "channels": True}, "channels is a positive whole number"),
        (
            {"encoding": "linear16", "sample_rate": 16_000, "channels": 10**9},
            "channels is a positive whole number up to",
        ),
        ({"channels": 2}, "channels is for raw audio"),
        ({"encoding": "speex", "sample_rate": 16_000}, "decode=False"),
    ],
)
def test_a_wrong_description_of_raw_samples_is_refused_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FileSource("never-opened.raw", **options)


def test_a_source_format_is_made_of_its_arguments() -> None:
    assert SourceFormat.of("mulaw", 8000) == SourceFormat("mulaw", 8000, 1)
    assert SourceFormat.of("opus", 48_000, 2) == SourceFormat("opus", 48_000, 2)
    assert SourceFormat.of(None, None) is None
    assert SourceFormat("linear16", 16_000, 3).frame_bytes == 6
    assert SourceFormat("opus", 48_000).frame_bytes is None


async def test_an_empty_chunk_never_leaves_a_source() -> None:
    async def chunks() -> Any:
        for chunk in (b"", b"one", b"", b"two", b""):
            yield chunk

    async def close() -> None:
        pass

    assert [chunk async for chunk in Audio(chunks(), close)] == [b"one", b"two"]


@pytest.mark.parametrize(
    "said",
    [
        {"channels": 0},
        {"channels": -1},
        {"channels": 0, "bytes_per_second": 32_000.0},
        {"sample_rate": 0},
        {"sample_rate": -8000},
        {"bytes_per_second": -1.0},
        {"bytes_per_second": float("nan")},
        {"bytes_per_second": float("inf")},
    ],
    ids=str,
)
async def test_audio_that_takes_no_time_ends_a_session_with_one_clear_error(said: dict[str, Any]) -> None:
    async def chunks() -> Any:
        yield bytes(3200)

    async def close() -> None:
        pass

    class Mine(AudioSource):
        async def open(self, *, multichannel: bool = False) -> Audio:
            return Audio(chunks(), close, **said)

    session = dgnb.LiveSession(Mine(), endpoint="ws://127.0.0.1:9", api_key="k" * 40, reconnect=False)
    with pytest.raises(AudioError, match=r"Give what its chunks hold\."):
        await asyncio.wait_for(session, 5)
    assert "closed" in repr(session)
    assert "closed" in repr([*dgnb.sessions(), session])


async def test_a_recording_is_not_live_and_waits() -> None:
    class Mine(AudioSource):
        async def open(self, *, multichannel: bool = False) -> Audio:
            return await BufferSource(bytes(3200), encoding="linear16", sample_rate=16_000).open()

    audio = await Mine().open()
    assert (audio.live, audio.waits) == (False, True)
    await audio.aclose()
    await audio.aclose()


async def test_a_source_that_cancels_its_own_task_to_close_is_closed() -> None:
    task = asyncio.create_task(asyncio.sleep(60))

    async def close() -> None:
        task.cancel()
        await task

    class Mine(AudioSource):
        async def open(self, *, multichannel: bool = False) -> Audio:
            audio = await BufferSource(bytes(3200), encoding="linear16", sample_rate=16_000).open()
            return Audio(audio, close)

    audio = await Mine().open()
    assert len([chunk async for chunk in audio]) == 1
    await audio.aclose()
    await audio.aclose()
    assert task.cancelled()
