"""A recording for an upload: what its header says of it, and its sound alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from dgnb.audio.buffer import BufferSource
from dgnb.audio.decode import opened
from dgnb.audio.file import FileSource
from dgnb.audio.head import Head, refuse, undecodable
from dgnb.audio.recording import Recorder
from dgnb.audio.source import Note
from dgnb.audio.tracks import chosen, stated_end
from dgnb.exceptions import AudioError, ConfigurationError

_CONTAINERS: Final = ("aac", "amr", "flac", "matroska", "mov", "mp3", "ogg", "wav")
_CODECS: Final = ("aac", "amr_nb", "amr_wb", "flac", "mp3", "mp3float", "opus", "pcm_s16le", "vorbis")
"""What every service for recordings takes, by FFmpeg's names."""
_WASTEFUL: Final = 512_000  # Bits a second from which plain samples are reduced: 16 kHz of two channels
_MOST_CHANNELS: Final = 8  # of FLAC
_PART: Final = 100  # Chunks that are written at once


LIMIT: Final = 2_000_000_000
"""Bytes that the service takes."""


class Found(NamedTuple):
    """What a header says: `length` in seconds or None, and whether a service takes the file, with few bytes for it."""

    size: int
    length: float | None
    channels: int
    plain: bool
    film: bool = False


def check_size(name: str, size: int) -> None:
    """`ConfigurationError`: it is too large for the service."""
    if size > LIMIT:
        told = f"{name} has {size / 1e9:.1f} GB, and the service takes {LIMIT / 1e9:g}"
        raise ConfigurationError(f"{told}. Split it at a silence, or make it smaller, as FLAC of 16 kHz.")


def look(source: FileSource | BufferSource) -> Found:
    """Look at a file. It may block. `AudioError`: it is no audio, or can't be read."""
    with contextlib.closing(source.opened()) as file:
        head, raw, name = Head(file), source.format, source.name
        refuse(head.start, name, raw)
        if raw and head.size:
            bytes_a_second = (raw.frame_bytes or 0) * raw.sample_rate
            return Found(head.size, head.size / bytes_a_second if bytes_a_second else None, raw.channels, False)
        if head.surplus:
            check_size(name, head.size)  # FFmpeg would look for further parts to the end
        try:
            with opened(head, None) as container:
                stream = chosen(container, name, None)
                codec, form = stream.codec_context, container.format.name.partition(",")[0]
                films = [s for s in container.streams.video if "attached_pic" not in str(s.disposition)]
                odd = form not in _CONTAINERS or codec.name not in _CODECS or films or head.surplus
                odd = odd or len(container.streams.audio) > 1
                odd = odd or (codec.name == "pcm_s16le" and codec.sample_rate * codec.channels * 16 > _WASTEFUL)
                length = stated_end(container, stream) - float((stream.start_time or 0) * (stream.time_base or 0))
                if length <= 0 and next(container.decode(stream), None) is None:
                    raise AudioError(f"{name} holds no samples. Was it recorded, or downloaded, to the end?")
                return Found(head.size, length if length > 0 else None, codec.channels, not odd, bool(films))
        except AudioError:
            raise
        except Exception as error:
            raise AudioError(undecodable(error, name, head)) from None


async def reduced(
    source: FileSource | BufferSource, multichannel: bool, path: Path, told: Callable[[float | Note], None]
) -> tuple[float, int]:
    """Write the sound to a FLAC file at 16 kHz, all channels mixed unless `multichannel`. Returns seconds, channels.

    `told` hears how many seconds are decoded, and each note.

    Raises:
        AudioError: It can't be decoded.
        DgnbError: It can't be written.
    """
    audio = await source.open(multichannel=multichannel)
    async with contextlib.aclosing(audio):
        if audio.channels > _MOST_CHANNELS:
            remedy = "Pass reduce=False to send the file as it is."
            raise ConfigurationError(f"{source.name} has {audio.channels} channels, and FLAC holds 8. {remedy}")
        recorder, chunks, size = Recorder(str(path), source.name), 0, 0
        opening = asyncio.ensure_future(asyncio.to_thread(recorder.open))
        step: asyncio.Future[Any] = opening
        try:
            await asyncio.shield(step)
            recorder.begin(audio)
            async for chunk in audio:
                recorder.capture(chunk)
                chunks, size = chunks + 1, size + len(chunk)
                if chunks % _PART == 0:
                    step = asyncio.ensure_future(asyncio.to_thread(recorder.write, recorder.take()))
                    await asyncio.shield(step)
                    told(size / audio.bytes_per_second)
        finally:
            # The thread of a step goes on where the wait for it was cancelled.
            await asyncio.wait({opening, step})
            if not opening.exception():
                recorder.end(size)
                await asyncio.to_thread(recorder.write, recorder.take(), last=True)
        for note in audio.notes:
            told(note)
        return size / audio.bytes_per_second, audio.channels
