"""Decodes the audio of a connection to 16 kHz linear16, one piece for each channel. Runs in a thread; knows no socket.

With `encoding` the audio must be raw; without it, it must be a container. Anything else is `Undecodable`, as at
Deepgram (`DATA-0000`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import av
import numpy as np

from dgnb.loopback.engines import SAMPLE_RATE
from dgnb.loopback.sniff import container_of, headed
from dgnb.options import LiveOptions

PIECE_SECONDS: Final = 0.25
"""The longest piece that is passed on, so that results come before all audio is decoded."""

_PCM: Final = {
    "linear16": ("pcm_s16le", 2),
    "linear32": ("pcm_f32le", 4),
    "mulaw": ("pcm_mulaw", 1),
    "alaw": ("pcm_alaw", 1),
}
"""FFmpeg's codec, and the bytes of a sample."""

_PACKETS: Final = {"opus", "speex"}
_DEMUXERS: Final = {"flac": "flac", "ogg-opus": "ogg", "amr-nb": "amrnb", "amr-wb": "amrwb", "g729": "g729"}
_HEADED_ANYWAY: Final = {"flac", "ogg-opus"}
_SNIFFED_BYTES: Final = (64, 4096, 16_384)
_PROBE: Final = {"probesize": "32768", "analyzeduration": "500000", "protocol_whitelist": "none"}


class Undecodable(Exception):
    """The data is not audio, or not in the declared encoding."""


def decode(options: LiveOptions, data: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Turn binary messages, none of them empty, into pieces of at most a quarter of a second, as they come.

    A piece is a list with linear16 at 16 kHz for each channel, all of the same length. Without `multichannel`, all
    channels are mixed into one.

    Raises:
        Undecodable: The data is not audio, or not in the declared encoding.
    """
    if options.encoding is None:
        pieces = _decode_container(options, data, None)
    elif options.encoding in _DEMUXERS:
        data = data if options.encoding in _HEADED_ANYWAY else _without_header(options, data)
        pieces = _decode_container(options, data, _DEMUXERS[options.encoding])
    elif options.encoding in _PACKETS:
        pieces = _decode_packets(options, _without_header(options, data))
    else:
        pieces = _decode_pcm(options, _without_header(options, data))
    for channels in pieces:
        step = 2 * int(PIECE_SECONDS * SAMPLE_RATE)
        for offset in range(0, len(channels[0]), step):
            yield [channel[offset : offset + step] for channel in channels]


def _without_header(options: LiveOptions, data: Iterator[bytes]) -> Iterator[bytes]:
    """The same messages, unless they begin like a file."""
    head = b""
    for chunk in data:
        if len(head) < 12:
            head = (head + chunk)[:64]
            if container := headed(head):
                raise Undecodable(
                    f"the audio is a {container.name} file, but encoding={options.encoding} was declared. "
                    "Leave out encoding and sample_rate, or send the samples without the header"
                )
        yield chunk


def _decode_pcm(options: LiveOptions, data: Iterator[bytes]) -> Iterator[list[bytes]]:
    codec, width = _PCM[str(options.encoding)]
    # To the codec it is one channel: FFmpeg has no layout for every number of channels.
    context: Any = av.CodecContext.create(codec, "r")
    context.sample_rate, context.layout = options.sample_rate, "mono"
    resamplers = [_resampler(options) for _ in range(options.channels if options.multichannel else 1)]
    rest = b""
    for chunk in data:
        chunk = rest + chunk
        whole = len(chunk) - len(chunk) % (width * options.channels)
        rest = chunk[whole:]
        if not whole:
            continue
        (decoded,) = context.decode(av.Packet(chunk[:whole]))
        samples = decoded.to_ndarray().reshape(-1, options.channels)
        if options.encoding == "linear32":
            # Deepgram's linear32 is floating point, full scale 1. Integers become noise, as at Deepgram.
            samples = (np.nan_to_num(samples, nan=0.0).clip(-1, 1) * 32767).round().astype("<i2")
        if not options.multichannel:
            samples = samples.mean(axis=1, keepdims=True).round().astype("<i2")
        pieces = []
        for resampler, channel in zip(resamplers, np.ascontiguousarray(samples.T), strict=True):
            frame = av.AudioFrame.from_ndarray(channel.reshape(1, -1), format="s16p", layout="mono")
            frame.sample_rate = decoded.sample_rate
            pieces.append(b"".join(piece for (piece,) in _resampled(resampler, frame)))
        yield pieces
    yield [b"".join(piece for (piece,) in _resampled(resampler, None)) for resampler in resamplers]


def _decode_packets(options: LiveOptions, data: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Decode a codec without framing: each message is one packet."""
    context: Any = av.CodecContext.create(str(options.encoding), "r")
    context.sample_rate = options.sample_rate
    context.layout = "stereo" if options.channels == 2 else "mono"
    resampler = _resampler(options)
    decoded = False
    for chunk in data:
        try:
            frames = context.decode(av.Packet(chunk))
        except av.error.FFmpegError:
            if not decoded:
                raise Undecodable(f"a message is not a packet of {options.encoding}") from None
            continue
        for frame in frames:
            decoded = True
            yield from _resampled(resampler, frame)
    yield from _resampled(resampler, None)


def _decode_container(options: LiveOptions, data: Iterator[bytes], demuxer: str | None) -> Iterator[list[bytes]]:
    pipe = _Pipe(data)
    demuxer = demuxer or _sniffed(pipe)
    if demuxer is None:
        return
    resampler = _resampler(options)
    decoded = False
    try:
        with av.open(pipe, "r", format=demuxer, options=_PROBE, metadata_errors="replace") as source:
            if not source.streams.audio:
                raise Undecodable("there is no audio in it")
            for packet in source.demux(source.streams.audio[0]):
                # A packet may be damaged; the next may be good.
                with contextlib.suppress(av.error.FFmpegError):
                    for frame in packet.decode():
                        decoded = True
                        yield from _resampled(resampler, frame)
    except (av.error.FFmpegError, ValueError, IndexError):
        if not decoded and pipe.started:
            raise Undecodable("the audio does not decode") from None
    if not decoded and pipe.started:
        raise Undecodable("there is no audio in it")
    yield from _resampled(resampler, None)


def _sniffed(pipe: _Pipe) -> str | None:
    """The demuxer for the container; None if there is no audio at all."""
    container = next(filter(None, (container_of(pipe.peek(size)) for size in _SNIFFED_BYTES)), None)
    if container is None and pipe.started:
        raise Undecodable("the audio has no header that is known. Raw audio needs encoding and sample_rate")
    return container.demuxer if container else None


class _Pipe:
    """The file that PyAV reads: one message after another. It has no `seek`, so PyAV does not try."""

    def __init__(self, data: Iterator[bytes]) -> None:
        self._data = data
        self._buffer = b""
        self._at = 0
        self.started = False

    def peek(self, size: int) -> bytes:
        """The first `size` bytes, or fewer if the audio ends before."""
        while len(self._buffer) < size and self._more(self._buffer):
            pass
        return self._buffer[:size]

    def read(self, size: int = -1) -> bytes:
        if self._at == len(self._buffer):
            self._at = 0
            if not self._more(b""):
                return b""
        taken = self._buffer[self._at :] if size < 0 else self._buffer[self._at : self._at + size]
        self._at += len(taken)
        return taken

    def _more(self, before: bytes) -> bool:
        chunk = next(self._data, b"")
        self._buffer = before + chunk
        self.started = self.started or bool(chunk)
        return bool(chunk)


def _resampler(options: LiveOptions) -> av.AudioResampler:
    """A resampler to 16 kHz. It mixes the channels, or (with the layout of the first frame) keeps them apart."""
    return av.AudioResampler(format="s16p", layout=None if options.multichannel else "mono", rate=SAMPLE_RATE)


def _resampled(resampler: av.AudioResampler, frame: Any) -> Iterator[list[bytes]]:
    """Each channel of a frame. None for a frame gives the rest."""
    if frame is not None:
        frame.pts = None
    for resampled in resampler.resample(frame):
        yield [channel.tobytes() for channel in resampled.to_ndarray()]
