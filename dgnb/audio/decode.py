"""What the decoder's thread does: it decodes bytes to linear16 at 16 kHz with FFmpeg. It knows no loop and no path."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias, cast

from dgnb.audio.source import CHUNK_SECONDS, SAMPLE_RATE, Note, SourceFormat
from dgnb.audio.timeline import MOST_MISSED, Timeline
from dgnb.exceptions import AudioError
from dgnb.options import MOST_CHANNELS

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.audio.stream import AudioStream
    from av.container import InputContainer

__all__ = ["Decoder", "Detected", "Item", "Readable", "decoded", "passed", "printable"]

_HEADERS: Final = {
    b"RIFF": "WAV",
    b"RF64": "WAV",
    b"fLaC": "FLAC",
    b"OggS": "Ogg",
    b"ID3": "MP3",
    b"\x1aE\xdf\xa3": "WebM",
}
_MARKUP: Final = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")
_SAFE: Final = {"protocol_whitelist": "none"}
# FFmpeg's own limits are 1 MB and 5 s: with those, the first words of a stream would come late.
_STREAM: Final = {**_SAFE, "formatprobesize": "4096", "probesize": "65536", "analyzeduration": "100000"}
_MOST_DAMAGED: Final = 50
_COUNTED: Final = ("wav", "w64", "aiff", "au", "caf", "flac", "mov", "matroska")
"""Formats that state their length, by FFmpeg's names. FFmpeg guesses the length of others."""
_SHORT: Final = 0.15
"""Seconds that may be missing at the end without a warning."""
_UNKNOWN_SIZE: Final = 0x7FFF0000
"""A program that writes WAV into a pipe states this size or more, because it does not know the size."""
_NOMINAL: Final = {"amr-nb": 1600, "amr-wb": 3000, "g729": 1000, "opus": 6000, "speex": 3500}
"""Bytes a second of encodings without a fixed rate: a middle bit rate, to pace them."""


class Readable(Protocol):
    """The part of a file that is needed here. `seek` and `tell` are used if it has them."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes; none at the end."""

    def close(self) -> None:
        """Release it."""


@dataclass(frozen=True, slots=True)
class Detected:
    """What the chunks after it are. The attributes are those of `Audio`."""

    encoding: str | None = "linear16"
    sample_rate: int | None = SAMPLE_RATE
    channels: int = 1
    bytes_per_second: float | None = None
    live: bool = False
    waits: bool = True


Item: TypeAlias = Detected | Note | bytes
"""What goes through the queue of a decoder's thread. A note goes before the chunk that it belongs to."""


def decoded(
    open_file: Callable[[], Readable],
    name: str,
    raw: SourceFormat | None,
    *,
    multichannel: bool = False,
    live: bool = False,
) -> Generator[Item, None, None]:
    """The chunks of one file, and the shorter rest of them. It raises what `Decoder.chunks` raises."""
    decoder = Decoder(name, raw, multichannel=multichannel)
    with contextlib.closing(open_file()) as file:
        yield from decoder.chunks(file, live=live)
    yield from decoder.rest()


class Decoder:
    """Decodes one file after another into one row of chunks. The files may differ in format.

    Args:
        name: Of the source.
        raw: How samples without a header are read.
        multichannel: Keep the channels apart: as many as the first file has.

    Attributes:
        channels: Of the chunks.
    """

    def __init__(self, name: str, raw: SourceFormat | None, *, multichannel: bool) -> None:
        self.channels = 0 if multichannel else 1
        self._name = name
        self._raw = raw
        self._resampler: _Resampler | None = None
        self._pending = bytearray()
        self._heard = 0

    def chunks(self, file: Readable, *, live: bool = False, waits: bool = True) -> Iterator[Item]:
        """A `Detected`, and all whole chunks. What is left over goes before the next file.

        Raises:
            AudioError: The file is not audio, or holds none; or its feed failed, after what came before.
        """
        head = _Head(file)
        _refuse(head.start, self._name, self._raw)
        try:
            with _opened(head, self._raw) as container:
                yield from self.container(container, live=live, waits=waits)
                if cut_short := self._cut_short(container, head):
                    yield Note("warning", cut_short)
        except AudioError:
            raise
        except Exception as error:
            raise head.error or AudioError(_undecodable(error, self._name, head)) from None
        if head.error:
            raise head.error
        if not self._heard:
            raise AudioError(f"{self._name} holds no samples. Was it recorded, or downloaded, to the end?")

    def container(self, container: InputContainer, *, live: bool = False, waits: bool = True) -> Iterator[Item]:
        """As `chunks`, of what is open already. A packet that does not decode is left out.

        Raises:
            AudioError: It holds no audio, or more channels than can be kept apart.
            av.error.FFmpegError: It can't be read.
        """
        stream = _audio_stream(container, self._name)
        if not self.channels and stream.channels > MOST_CHANNELS:
            raise AudioError(
                f"{self._name} has {stream.channels} channels; multichannel takes {MOST_CHANNELS} at most."
            )
        self.channels = self.channels or stream.channels
        resampler = self._resampler = self._resampler or _Resampler(self.channels)
        yield Detected(channels=self.channels, live=live, waits=waits)
        self._heard = 0
        timeline = self._timeline = Timeline(container.start_time if waits else None, fills=waits)
        for frame in _frames(container, stream):
            if missed := timeline.missed(frame):
                yield from self._whole_chunks(resampler.flush())
                yield from self._missing(missed, waits)
            timeline.position += frame.samples / frame.sample_rate
            yield from self._whole_chunks(resampler(frame))
        yield from self._whole_chunks(resampler.flush())

    def _missing(self, seconds: float, waits: bool) -> Iterator[Item]:
        """What goes in the place of sound that the timestamps leave out."""
        where = f"{seconds:.1f} s have no sound in its timestamps, after {self._timeline.position:.1f} s"
        if seconds > MOST_MISSED:
            yield Note("warning", f"{self._name}: {where}. They are taken for a restart of the clock, and left out")
        elif not waits:
            yield Note("source", where, seconds)
        else:
            self._timeline.position += seconds
            # The place is counted from the start, so that no rounding adds up.
            silent = round(self._timeline.position * SAMPLE_RATE) - self._heard // (2 * self.channels)
            while silent > 0:
                part = min(silent, SAMPLE_RATE)
                yield from self._whole_chunks(bytes(2 * self.channels * part))
                silent -= part

    def _whole_chunks(self, samples: bytes) -> Iterator[bytes]:
        size = 2 * self.channels * round(SAMPLE_RATE * CHUNK_SECONDS)
        self._heard += len(samples)
        self._pending += samples
        while len(self._pending) >= size:
            chunk = bytes(self._pending[:size])
            del self._pending[:size]
            yield chunk

    def rest(self) -> Iterator[bytes]:
        """The last chunk, if the audio did not end with a whole one."""
        if self._pending:
            yield bytes(self._pending)

    def _cut_short(self, container: InputContainer, head: _Head) -> str:
        """The warning for a file that holds less than its header states, or ""."""
        if self._raw:
            return ""
        kind = container.format.name.partition(",")[0]
        came = self._timeline.position
        promised = ""
        if head.can_seek and (more := head.missing()):
            promised = f"its header promises {more} bytes more"
        elif kind in _COUNTED and (head.can_seek or kind != "mov"):
            end = self._timeline.since_start(_stated_end(container, _audio_stream(container, self._name)))
            if came < end - _SHORT:
                promised = f"its header promises {end:.1f} s"
        return f"{self._name} is cut short: {came:.1f} s of it are there, and {promised}." if promised else ""


def passed(open_file: Callable[[], Readable], name: str, raw: SourceFormat | None) -> Generator[Item, None, None]:
    """The bytes as they are, in chunks of about 100 ms.

    Raises:
        AudioError: The file is not audio.
    """
    with contextlib.closing(open_file()) as file:
        head = _Head(file)
        _refuse(head.start, name, raw)
        frame = (raw and raw.frame_bytes) or 1
        if raw and raw.encoding not in ("flac", "ogg-opus"):
            rate = float(_NOMINAL.get(raw.encoding) or frame * raw.sample_rate)
        else:
            rate, channels = _byte_rate(head, name)
        if raw:
            yield Detected(raw.encoding, raw.sample_rate, raw.channels, rate)
        else:
            yield Detected(None, None, channels, rate)
        size = max(1, round(rate * CHUNK_SECONDS / frame)) * frame
        head.rewind()
        while chunk := file.read(size):
            yield chunk


def printable(start: bytes) -> str:
    """The first bytes for a message: quoted, short, without control characters."""
    return repr(start[:40].decode("ascii", "backslashreplace"))


class _Head:
    """A file that remembers its first bytes, so that an error can show them."""

    def __init__(self, file: Any) -> None:
        self._file = file
        start = b""
        while len(start) < 64 and (more := file.read(64 - len(start))):
            start += more
        self.start = self._pending = start
        self.can_seek = hasattr(file, "seek")
        if self.can_seek:
            self.rewind()
            # PyAV seeks in what has these.
            self.seek = self._file.seek
            self.tell = self._file.tell

    @property
    def error(self) -> AudioError | None:
        """What ended the file early, or None."""
        error: AudioError | None = getattr(self._file, "error", None)
        return error

    def missing(self) -> int:
        """Bytes that are missing by the header of a WAV or AIFF file. FFmpeg does not tell: it takes what there is."""
        order: Any = {b"RIFF": "little", b"FORM": "big"}.get(self.start[:4])
        promised = int.from_bytes(self.start[4:8], order) if order else 0
        if not 0 < promised < _UNKNOWN_SIZE:
            return 0
        # Some writers count the eight bytes before the length too, and some pad an odd length.
        missing = promised + 8 - int(self._file.seek(0, os.SEEK_END))
        return missing if missing > 8 else 0

    def rewind(self) -> None:
        self._pending = b""
        self._file.seek(0)

    def read(self, size: int = -1) -> bytes:
        if self._pending:
            taken = self._pending[:size] if size >= 0 else self._pending
            self._pending = self._pending[len(taken) :]
        else:
            taken = self._file.read(size)
        return taken


def _refuse(start: bytes, name: str, raw: SourceFormat | None) -> None:
    """Refuse a file whose first bytes say more than FFmpeg's error would."""
    if not start:
        return  # the feed may have failed: its error says more
    if raw:
        for mark, kind in _HEADERS.items():
            if start.startswith(mark) and raw.encoding not in ("flac", "ogg-opus"):
                raise AudioError(f"{name} has a {kind} header, so it is not raw {raw.encoding}. Leave out encoding.")
        return
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith(_MARKUP):
        raise AudioError(f"{name} is a page or a document, not audio; it begins with {printable(start)}.")
    if text.startswith((b"#extm3u", b"[playlist]")):
        raise AudioError(f"{name} is a playlist, not audio. Use the address of a stream in it.")


def _opened(head: _Head, raw: SourceFormat | None) -> InputContainer:
    import av

    options = _SAFE if head.can_seek else _STREAM
    if raw and raw.frame_bytes:
        # Two channels are left and right; more channels have no known places.
        layout = f"{raw.channels}{'c' if raw.channels <= 2 else 'C'}"
        options = {**_SAFE, "sample_rate": str(raw.sample_rate), "ch_layout": layout}
    container: InputContainer = av.open(
        cast("Any", head),
        "r",
        format=raw.demuxer if raw else None,
        options=dict(options),
        metadata_errors="replace",
        buffer_size=4096,
    )
    return container


def _audio_stream(container: InputContainer, name: str) -> AudioStream:
    if not container.streams.audio:
        raise AudioError(f"{name} holds no audio ({container.format.long_name}).")
    return container.streams.audio[0]


def _stated_end(container: InputContainer, stream: AudioStream) -> float:
    """The timestamp at which the sound ends by the header; 0.0 where it does not say."""
    if stream.duration and stream.time_base:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    try:
        # Matroska has the end of each track in its tags, and only the end of the longest in its header.
        hours, minutes, seconds = stream.metadata["DURATION"].split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except (KeyError, ValueError):
        return (container.duration or 0) / 1_000_000 if len(container.streams) == 1 else 0.0


def _undecodable(error: Exception, name: str, head: _Head) -> str:
    if not head.start:
        return f"{name} is empty."
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if head.start[4:8] == b"ftyp" and not head.can_seek:
        return (
            f"{name} can't be decoded as it arrives ({reason}): an MP4 file may keep its index at the end. "
            "Download it, and use the file."
        )
    if head.start[4:8] == b"ftyp":
        return f"{name} can't be decoded ({reason}); the index at its end may be missing. Was it copied to the end?"
    return (
        f"{name} can't be decoded as audio ({reason}); it begins with {printable(head.start)}. "
        "Raw samples need encoding and sample_rate, such as encoding='linear16', sample_rate=16000."
    )


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Every frame that decodes. A damaged packet is left out."""
    import av

    decoded = damaged = 0
    last: Exception | None = None
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError as error:
            last, damaged = error, damaged + 1
            if not decoded and damaged > _MOST_DAMAGED:
                raise
            continue
        decoded += len(frames)
        yield from frames
    if last and not decoded:
        raise last


class _Resampler:
    """Converts frames to interleaved linear16 at 16 kHz. The format of the frames may change at any frame."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._form: tuple[Any, ...] | None = None
        self._layout: Any = None
        self._mixed = False
        self._resampler: AudioResampler | None = None

    def __call__(self, frame: AudioFrame) -> bytes:
        import av

        tail = b""
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if form != self._form:
            tail = self.flush()
            self._form = form
            # FFmpeg would guess the places of unnamed channels, and leave one out as the bass: NumPy mixes them.
            self._mixed = self._channels == 1 and frame.layout.nb_channels > 2 and "channels" in frame.layout.name
            if self._channels == 1:
                layout: Any = frame.layout if self._mixed else "mono"
            else:
                self._layout = layout = self._layout or frame.layout
            self._resampler = av.AudioResampler(format="s16", layout=layout, rate=SAMPLE_RATE)
        assert self._resampler is not None
        frame.pts = None
        return tail + self._bytes(self._resampler.resample(frame))

    def flush(self) -> bytes:
        """What the resampler still holds. The next frame gets a new resampler."""
        resampler, self._resampler, self._form = self._resampler, None, None
        return self._bytes(resampler.resample(None)) if resampler else b""

    def _bytes(self, frames: list[AudioFrame]) -> bytes:
        return b"".join(map(self._frame_bytes, frames))

    def _frame_bytes(self, frame: AudioFrame) -> bytes:
        channels = frame.layout.nb_channels
        data = memoryview(frame.planes[0])[: 2 * channels * frame.samples]
        if not self._mixed:
            return bytes(data)
        import numpy as np

        mixed = np.frombuffer(data, "<i2").reshape(-1, channels).mean(axis=1).round()
        return bytes(mixed.astype("<i2").tobytes())


def _byte_rate(head: _Head, name: str) -> tuple[float, int]:
    """The average bytes a second of a container, and its number of channels."""
    import av

    try:
        with av.open(cast("Any", head), "r", options=dict(_SAFE), metadata_errors="replace") as container:
            channels = _audio_stream(container, name).channels
            duration = (container.duration or 0) / av.time_base
    except av.error.FFmpegError as error:
        raise AudioError(_undecodable(error, name, head)) from None
    size = head.seek(0, os.SEEK_END)
    return (size / duration if duration > 0 else 16_000.0), channels
