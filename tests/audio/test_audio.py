"""What a person passes becomes a source."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from dgnb.audio import Audio, AudioSource, BufferSource, FileSource, URLSource, as_source
from dgnb.exceptions import ConfigurationError


async def nothing() -> AsyncIterator[bytes]:
    yield b""


def test_each_kind_of_input_becomes_its_kind_of_source() -> None:
    assert isinstance(as_source("talk.m4a"), FileSource)
    assert isinstance(as_source(Path("talk.m4a")), FileSource)
    assert isinstance(as_source("http://127.0.0.1/radio"), URLSource)
    assert isinstance(as_source(" HTTPS://127.0.0.1/radio\n"), URLSource)
    assert isinstance(as_source(b"RIFF"), BufferSource)
    assert isinstance(as_source(np.zeros(9), sample_rate=16_000), BufferSource)
    assert isinstance(as_source(np.zeros(9, "int16"), sample_rate=16_000, encoding="linear16"), BufferSource)
    assert isinstance(as_source(nothing()), BufferSource)


def test_a_source_is_returned_unchanged() -> None:
    class Mine(AudioSource):
        async def open(self, *, multichannel: bool = False) -> Audio:
            raise NotImplementedError

    mine = Mine()
    assert as_source(mine) is mine
    assert repr(mine) == "Mine('audio')"


def test_the_description_of_raw_audio_reaches_the_source() -> None:
    source = as_source("call.ulaw", encoding="mulaw", sample_rate=8000)
    assert isinstance(source, FileSource)
    assert source.format is not None
    assert source.format.encoding == "mulaw"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("ftp://127.0.0.1/a", "other schemes are not read"),
        ("file:///etc/passwd", "other schemes are not read"),
        ("", "The source is empty"),
        (7, "not int"),
        (None, "not NoneType"),
        ([b"RIFF"], "not list"),
    ],
)
def test_any_other_input_is_refused_at_once(source: object, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        as_source(source)
