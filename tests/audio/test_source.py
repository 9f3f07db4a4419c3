"""How the samples of a source are described, and what every source has."""

from __future__ import annotations

from typing import Any

import pytest

from dgnb.audio import Audio, AudioSource, BufferSource, FileSource, SourceFormat
from dgnb.exceptions import ConfigurationError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoding": "linear16"}, "sample_rate is missing"),
        ({"sample_rate": 16_000}, "encoding is missing"),
        ({"encoding": "linaer16", "sample_rate": 16_000}, "Did you mean 'linear16'"),
        ({"encoding": "nonsense", "sample_rate": 16_000}, "Use one of: linear16"),
        ({"encoding": "linear16", "sample_rate": 0}, "sample_rate is a positive whole number, not 0"),
        ({"encoding": "linear16", "sample_rate": "16 kHz"}, "sample_rate is a positive whole number, not '16 kHz'"),
        ({"encoding": "linear16", "sample_rate": 16_000, "channels": True}, "channels is a positive whole number"),
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


async def test_a_recording_is_not_live_and_waits() -> None:
    class Mine(AudioSource):
        async def open(self, *, multichannel: bool = False) -> Audio:
            return await BufferSource(bytes(3200), encoding="linear16", sample_rate=16_000).open()

    audio = await Mine().open()
    assert (audio.live, audio.waits) == (False, True)
    await audio.aclose()
    await audio.aclose()
