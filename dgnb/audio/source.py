"""`AudioSource`, `Audio`, `Note` and `SourceFormat`: what the rest of the package knows of any source."""

from __future__ import annotations

import abc
import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from dgnb.exceptions import AudioError, ConfigurationError
from dgnb.options import check_encoding
from dgnb.values import native, whole

__all__ = ["CHUNK_SECONDS", "MOST_NOTES", "SAMPLE_RATE", "Audio", "AudioSource", "Note", "SourceFormat"]

SAMPLE_RATE: Final = 16_000
CHUNK_SECONDS: Final = 0.1
"""Deepgram advises 20 to 250 ms a message, about 100 ms."""
LOWEST_RATE: Final = 4_000
"""Samples a second. Fewer would make gigabytes of a few bytes."""
HIGHEST_RATE: Final = 384_000

MOST_NOTES: Final = 1000

_DEMUXERS: Final = {
    "linear16": "s16le",
    "linear32": "f32le",
    "mulaw": "mulaw",
    "alaw": "alaw",
    "flac": "flac",
    "ogg-opus": "ogg",
    "amr-nb": "amrnb",
    "amr-wb": "amrwb",
    "g729": "g729",
}
_SAMPLE_BYTES: Final = {"linear16": 2, "linear32": 4, "mulaw": 1, "alaw": 1}


@dataclass(frozen=True, slots=True)
class SourceFormat:
    """How audio without a header is read.

    Attributes:
        encoding: One of `dgnb.options.ENCODINGS`, such as `linear16`.
        sample_rate: Samples a second.
        channels: Interleaved channels.
    """

    encoding: str
    sample_rate: int
    channels: int = 1

    @classmethod
    def of(
        cls, encoding: str | None, sample_rate: int | None, channels: int = 1, *, decode: bool = False
    ) -> SourceFormat | None:
        """The format that these arguments describe; None for audio with a header, ConfigurationError where wrong."""
        encoding = native(encoding)
        if sample_rate is not None:
            sample_rate = whole("sample_rate is a positive whole number", sample_rate)
            if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
                raise ConfigurationError(f"sample_rate is from {LOWEST_RATE} to {HIGHEST_RATE}, not {sample_rate}.")
        channels = whole("channels is a positive whole number up to 1000", channels, most=1000)
        if encoding is None and sample_rate is None:
            if channels != 1:
                raise ConfigurationError("channels is for raw audio: it needs encoding and sample_rate too.")
            return None
        if encoding is None or sample_rate is None:
            missing = "encoding" if encoding is None else "sample_rate"
            raise ConfigurationError(f"{missing} is missing: raw audio needs both encoding and sample_rate.")
        check_encoding(encoding)
        if decode and encoding not in _DEMUXERS:
            raise ConfigurationError(
                f"Raw {encoding} can't be decoded here. Send it as it is with FileSource(…, decode=False)."
            )
        return cls(encoding, sample_rate, channels)

    @property
    def demuxer(self) -> str:
        """FFmpeg's name for the encoding."""
        return _DEMUXERS[self.encoding]

    @property
    def frame_bytes(self) -> int | None:
        """Bytes of one sample of all channels; None where samples have no fixed size."""
        size = _SAMPLE_BYTES.get(self.encoding)
        return size and size * self.channels


@dataclass(frozen=True, slots=True)
class Note:
    """What a source reports beside its audio.

    Attributes:
        type: `title`: what a station says that it plays. `source`: audio was missed, or a station was asked again.
            `warning`: the audio can be read, but something is wrong with it.
        text: For people. It may hold words from outside, so show it as text and never as HTML.
        missed: Seconds of the source that are missing between the chunk before the note and the chunk after it.
    """

    type: str
    text: str
    missed: float = 0.0


class Audio:
    """Opened audio: its format, and an async iterator of its chunks, none of them empty.

    A chunk of decoded audio is 100 ms; the last one may be shorter. Cancelling a wait for a chunk loses no chunk.

    Attributes:
        encoding: `linear16`, or None for a container that is passed through as it is.
        sample_rate: Samples a second; None for a container.
        channels: Interleaved channels.
        bytes_per_second: Turns bytes into seconds; an average for a container.
        live: The audio comes at its own pace, as a radio's does. A file on a server does not.
        waits: The source waits while nobody takes its chunks. Take the chunks of a source that does not wait at once.
        length: Seconds that the source states to be long, before `duration` cuts it; None where it does not say.
        notes: What the source reported up to the chunk that was taken last, and after the end, on the whole. Take notes
            out with `popleft`, on the event loop; of more than 1000 the oldest are dropped.

    Raises:
        AudioError: A number is not positive.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        close: Callable[[], Awaitable[None]],
        *,
        encoding: str | None = "linear16",
        sample_rate: int | None = SAMPLE_RATE,
        channels: int = 1,
        bytes_per_second: float | None = None,
        live: bool = False,
        waits: bool | None = None,
        length: float | None = None,
        notes: deque[Note] | None = None,
    ) -> None:
        self.encoding = encoding
        self.sample_rate = sample_rate
        self.channels = channels
        self.bytes_per_second = bytes_per_second or 2 * channels * (sample_rate or SAMPLE_RATE)
        if channels < 1 or sample_rate == 0 or not 0 < self.bytes_per_second < math.inf:
            raise AudioError(
                f"Audio has channels, a sample_rate and bytes a second, not {channels}, {sample_rate} and "
                f"{self.bytes_per_second:g}. Give what its chunks hold."
            )
        self.live = live
        self.waits = not live if waits is None else waits
        self.length = length
        self.notes: deque[Note] = deque(maxlen=MOST_NOTES) if notes is None else notes
        self._chunks = chunks
        self._close = close
        self._closing: asyncio.Future[Any] | None = None

    @property
    def frame_bytes(self) -> int | None:
        """Bytes of one sample of all channels; None where samples have no fixed size."""
        return SourceFormat(self.encoding or "", self.sample_rate or 0, self.channels).frame_bytes

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while True:
            chunk = await anext(self._chunks)
            if chunk:  # an empty binary frame would end the stream
                return chunk

    async def aclose(self) -> None:
        """Release the file, the connection and the thread. Safe to call twice. It goes on when it is cancelled."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        try:
            await asyncio.shield(self._closing)
        except asyncio.CancelledError:
            # A source that cancels a task of its own, and awaits it, is closed.
            if not self._closing.cancelled():
                raise


class AudioSource(abc.ABC):
    """Where audio comes from. Subclass it with `open()` to bring your own.

    Whether a source is live is known once it is open: its `Audio` says so.

    Attributes:
        name: For people: a file name, or an address without its credentials.

    Example:
        ```python
        class Tone(dgnb.AudioSource):
            name = "a tone"

            async def open(self, *, multichannel=False):
                samples = np.sin(np.arange(160_000) / 16_000 * 2 * np.pi * 440) * 0.1
                return await dgnb.BufferSource(samples, sample_rate=16_000).open()
        ```
    """

    name: str = "audio"

    @abc.abstractmethod
    async def open(self, *, multichannel: bool = False) -> Audio:
        """Open the source and find out its format. Cancelling it leaves nothing open.

        Args:
            multichannel: Keep the channels apart instead of mixing them.

        Raises:
            AudioError: The source can't be opened, or is not audio.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"
