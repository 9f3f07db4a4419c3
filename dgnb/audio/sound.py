"""`Sound`: sound to listen to, on the timeline of a transcript."""

from __future__ import annotations

import base64
import io
import math
import os
import tempfile
import threading
import wave
import weakref
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dgnb.audio.buffer import BufferSource
from dgnb.audio.decode import Detected, Item
from dgnb.audio.file import FileSource
from dgnb.audio.source import SAMPLE_RATE, AudioSource
from dgnb.exceptions import AudioError, ConfigurationError
from dgnb.files import remedy
from dgnb.values import number

if TYPE_CHECKING:
    import numpy as np
    from av.packet import Packet as AnyPacket

    Packet = AnyPacket[Any]
    Samples = np.ndarray[Any, np.dtype[np.int16]]

__all__ = ["Clip", "Sound"]

BIT_RATE: Final = 32_000
_FRAME: Final = 1024  # Samples of an AAC packet
_LEAD: Final = 4  # Packets before a part, for the encoder to settle; they are left out
_PARTS: Final = 2
_HEADER: Final = 44  # Bytes of a WAV file before the samples
_MOST_SHOWN: Final = 17_000_000
"""Bytes of WAV that a notebook shows. They are a third more in it, and JupyterLab slows down with more than 50 MB."""
_LATEST: Final = 1e9  # Seconds. FFmpeg can't seek to what is much later.
_IN_MEMORY: Final = 1 << 24  # Bytes of samples; more go to a file


class Clip(bytes):
    """A WAV file in memory, which a notebook shows with a play button, if it is shorter than 9 minutes."""

    def _repr_html_(self) -> str | None:
        if len(self) > _MOST_SHOWN:
            return None
        return f'<audio controls src="data:audio/wav;base64,{base64.b64encode(self).decode()}"></audio>'

    def __repr__(self) -> str:
        more = ", too long to put into a notebook: use transcript.player()" if len(self) > _MOST_SHOWN else ""
        return f"<Clip: a WAV file of {(len(self) - _HEADER) / 2 / SAMPLE_RATE:.2f} s{more}>"

    __str__ = __repr__


class Sound:
    """Sound that is read again: second t of it is second t of the transcript.

    It is decoded as a session decodes its source, so gaps in timestamps, mixing and rates agree to the sample. A
    stretch of a WAV, AIFF or FLAC file is read where it stands. Another file is decoded up to there once, some seconds
    for an hour, and kept in a temporary file without a name: 115 MB an hour. The methods block, and may be called in
    any thread.

    Args:
        source: A path, a `FileSource`, a `BufferSource`, or what these take: bytes, or an array with its rate.

    Attributes:
        name: For people: a file name, or what is in memory.
        path: The file, or None.
        source: What it is read from.

    Raises:
        ConfigurationError: The source can't be read twice, as a station or an iterator.

    Example:
        ```python
        from dgnb.audio import Sound

        Sound("talk.m4a").samples(12.0, 15.0)
        ```
    """

    def __init__(self, source: Any) -> None:
        from dgnb.audio import as_source

        source = source.source if isinstance(source, Sound) else as_source(source)
        if not again(source):
            raise ConfigurationError(
                f"{source.name} can't be heard again: it is not kept. Use the file of record=, or another file with "
                "the same sound."
            )
        self.source: FileSource | BufferSource = source
        self.name: str = source.name
        self.path: Path | None = source.path if isinstance(source, FileSource) else None
        self._lock = threading.Lock()
        self._state: tuple[float, int] | None = None
        self._kept: dict[bool, _Kept] = {}

    def __repr__(self) -> str:
        return f"<Sound of {self.name}>"

    @property
    def plain(self) -> bool:
        """Whether its path alone says how it is read."""
        return isinstance(self.source, FileSource) and self.source.format is None and self.source.track is None

    def samples(self, start: float = 0.0, end: float | None = None, *, multichannel: bool = False) -> Samples:
        """Linear16 at 16 kHz from `start` to `end` in seconds; None is the end. What lies beyond the end is left out.

        The shape is (samples,), all channels mixed, or (samples, channels) with `multichannel`.

        Raises:
            ConfigurationError: `start` or `end` is no time.
            AudioError: It can't be opened or decoded, or is another file than at first.
        """
        import numpy as np

        start = min(_LATEST, number("start is a number of seconds from 0 on", start, 0.0))
        end = math.inf if end is None else number("end is a number of seconds from 0 on, or None", end, 0.0)
        with self._lock:
            self._notice_changes()
            kept = self._kept.get(multichannel) or self._opened(multichannel, start)
            try:
                sound = np.frombuffer(kept.read(start, end), "<i2")
            except BaseException as error:
                # A decoder that was interrupted gives no more.
                self._kept.clear()
                if not isinstance(error, OSError):
                    raise
                where = f"{self.name} can't be kept in the temporary folder {tempfile.gettempdir()!r}"
                raise AudioError(f"{where}: {remedy(error)}") from error
        return sound.reshape(-1, kept.channels) if multichannel else sound

    def wav(self, start: float = 0.0, end: float | None = None) -> Clip:
        """The same as a WAV file.

        Raises:
            ConfigurationError: Nothing of it is there.
        """
        samples = self._some(start, end)
        file = io.BytesIO()
        with wave.open(file, "wb") as written:
            written.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
            written.writeframes(samples.tobytes())
        return Clip(file.getvalue())

    def encoded(self, start: float = 0.0, end: float | None = None) -> tuple[bytes, str]:
        """The same as AAC at 32 kbit/s in MP4, which every browser plays, and its MIME type. It raises what `wav` does.

        An hour is 15 MB. It takes 3 s on two processors, after what `samples` takes: 2 s with WAV and FLAC, 6 s with an
        MP3 file that was not decoded before. The edit list leaves out what the encoder puts before the sound: position
        0 is `start`. In Chromium 156, each position of 10 minutes plays the sample of that time, within 1 ms (measured
        by correlation).
        """
        import av

        samples = self._some(start, end)
        whole = -(-len(samples) // (_FRAME * _PARTS)) * _FRAME
        with ThreadPoolExecutor(_PARTS) as threads:
            parts = list(threads.map(lambda part: _packets(samples, part * whole, (part + 1) * whole), range(_PARTS)))
        file = io.BytesIO()
        with av.open(file, "w", format="mp4") as container:
            stream = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
            stream.bit_rate = BIT_RATE
            stream.codec_context.open()
            for packet in [packet for part in parts for packet in part]:
                packet.stream = stream
                container.mux(packet)
        return file.getvalue(), "audio/mp4"

    def _some(self, start: float, end: float | None) -> Samples:
        samples = self.samples(start, end)
        if not len(samples):
            raise ConfigurationError(
                f"{self.name} ends before {start:g} s. Is it the recording of this transcript? Say which one is: "
                "transcript.audio = path."
            )
        return samples

    def lasts(self, until: float) -> None:
        """ConfigurationError: it ends more than a second before a time. AudioError: as `samples`."""
        with self._lock:
            length = self._opened(False, 0.0).length
        # FFmpeg guesses the length of some files: then it is counted.
        if length and length < until - 1 and not len(self.samples(until - 1)):
            raise ConfigurationError(
                f"{self.name} lasts {length:.1f} s, and the last word of this transcript ends at {until:.1f} s: it is "
                "another recording. Assign the one that was transcribed: transcript.audio = path."
            )

    def _opened(self, multichannel: bool, start: float) -> _Kept:
        """A stretch from `start` on, or all: that is kept."""
        kept = _Kept(self.source.decoded(multichannel, start))
        if kept.begin is None:
            self._kept[multichannel] = kept
        return kept

    def _notice_changes(self) -> None:
        """Begin anew with a file that has changed, such as a recording that grows. `AudioError`: it is another one."""
        if not isinstance(self.source, FileSource):
            return
        before = self.source.begin
        try:
            with self.source.opened() as file:
                found = os.fstat(file.fileno())
        except AudioError as error:
            raise AudioError(f"{error} If the sound is elsewhere now: transcript.audio = path.") from None
        if not self.source.begin.startswith(before):
            self.source.begin = before
            raise AudioError(
                f"{self.name} holds other sound than what was transcribed: it was replaced. If it is right all the "
                "same, or the recording is elsewhere now: transcript.audio = path."
            )
        state = (found.st_mtime, found.st_size)
        if state != self._state:
            self._state, self._kept = state, {}


class _Kept:
    """What a decoder has given so far, in a temporary file, from second `begin` on; None: all from the beginning."""

    def __init__(self, items: Generator[Item, None, None]) -> None:
        found = next((item for item in items if isinstance(item, Detected)), Detected(channels=1))
        self.begin, self.length = found.start, found.get("length")
        self.channels: int = found["channels"]
        self._items = items
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115
        weakref.finalize(self, self._file.close)

    def read(self, start: float, end: float) -> bytes:
        """The samples from one second to another."""
        first, last = self._place(start), self._place(end)
        self._file.seek(0, os.SEEK_END)
        while self._file.tell() < last and (item := next(self._items, None)) is not None:
            if isinstance(item, bytes):
                self._file.write(item)
        size = int(max(0, min(last, self._file.tell()) - first))
        self._file.seek(int(first))
        return self._file.read(size)

    def _place(self, at: float) -> float:
        begin = round((self.begin or 0.0) * SAMPLE_RATE)
        return at if at == math.inf else (round(at * SAMPLE_RATE) - begin) * 2 * self.channels


def again(source: AudioSource) -> bool:
    """Whether a source can be read a second time, while a session reads it."""
    return isinstance(source, FileSource) or (isinstance(source, BufferSource) and source.kept)


def stretch(start: Any, end: Any = None, pad: float = 0.0) -> tuple[float, float]:
    """Two times in seconds, of a row or as such, and `pad` around them; `ConfigurationError`: they are no stretch."""
    row = start
    if isinstance(row, tuple) and len(row) == 2 and getattr(row[1], "ndim", 0) == 1:
        row = row[1]  # of iterrows()
    if getattr(row, "ndim", 0) == 2:
        if not len(row):
            raise ConfigurationError("This table has no rows, so there is nothing to hear in it.")
        if len(row) != 1:
            raise ConfigurationError(f"A clip is of one row, not of {len(row)}: take one with table.iloc[0].")
        row = row.iloc[0]
    if hasattr(row, "keys") or hasattr(row, "_fields"):
        row = row._asdict() if hasattr(row, "_fields") else row
        if end is not None or "start" not in row or "end" not in row:
            raise ConfigurationError("A clip takes a row that has start and end, or two times in seconds.")
        start, end = row["start"], row["end"]
    start = number("start is a number of seconds from 0 on", start, 0.0)
    end = number("end is a number of seconds, or start is a row with both", end, 0.0)
    if end < start or (end == start and not pad):
        raise ConfigurationError(
            f"start comes before end: {start:g} s does not come before {end:g} s. To hear a moment, give pad= seconds."
        )
    return max(0.0, start - pad), end + pad


def _packets(samples: Samples, begin: int, end: int) -> list[Packet]:
    """The AAC packets of a part, whose ends are multiples of a packet. The last part takes what follows, too."""
    import av

    encoder = av.CodecContext.create("aac", "w")
    # The usual search for the best coding takes three times as long.
    encoder.rate, encoder.layout, encoder.format, encoder.options = SAMPLE_RATE, "mono", "fltp", {"aac_coder": "fast"}
    encoder.bit_rate = BIT_RATE
    first = max(0, begin - _LEAD * _FRAME)
    packets: list[Packet] = []
    for at in range(first, min(len(samples), end + _LEAD * _FRAME), 100 * _FRAME):
        part = samples[at : min(at + 100 * _FRAME, end + _LEAD * _FRAME)]
        frame = av.AudioFrame.from_ndarray(part[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, at
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    last = end if end < len(samples) else math.inf
    return [
        packet
        for packet in packets
        if packet.pts is not None and (packet.pts >= begin or not begin) and packet.pts < last
    ]
