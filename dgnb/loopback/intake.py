"""Decodes the audio of a connection to 16 kHz linear16, one piece for each channel. Runs in a thread; knows no socket.

With `encoding` the audio must be raw; without it, it must be a container. Anything else is `Undecodable`, as at
Deepgram (`DATA-0000`).
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any, Final

import av
import numpy as np

from dgnb.loopback.engines import SAMPLE_RATE
from dgnb.options import MOST_CHANNELS, StreamOptions

PIECE_SECONDS: Final = 0.25
"""The longest piece that is passed on, so that results come before all audio is decoded."""

HIGHEST_RATE: Final = 384_000
"""Samples a second that are taken: for more, the resampler's memory would have no bound."""

LOWEST_RATE: Final = 4000
"""Below it, a single frame may be too much audio to resample at once."""

_PCM: Final = {
    "linear16": ("pcm_s16le", 2),
    "linear32": ("pcm_f32le", 4),
    "mulaw": ("pcm_mulaw", 1),
    "alaw": ("pcm_alaw", 1),
}
"""FFmpeg's codec, and the bytes of a sample."""

_PIECE_SAMPLES: Final = 96_000
_DEMUXERS: Final = {"flac": "flac", "ogg-opus": "ogg", "amr-nb": "amrnb", "amr-wb": "amrwb", "g729": "g729"}
_MAGIC: Final = (
    (0, b"RIFF", "WAV"),
    (0, b"RF64", "WAV"),
    (0, b"fLaC", "FLAC"),
    (0, b"OggS", "Ogg"),
    (0, b"ID3", "MP3"),
    (0, b"\x1a\x45\xdf\xa3", "WebM"),
    (4, b"ftyp", "MP4"),
    (4, b"moov", "MP4"),
    (0, b".snd", "AU"),
    (0, b"#!AMR", "AMR"),
)

_IN_A_ROW: Final = 3
_PROBE: Final = {"probesize": "32768", "analyzeduration": "500000", "protocol_whitelist": "none"}


class Undecodable(Exception):
    """The data is not audio, or not in the declared encoding."""


def decode(options: StreamOptions, data: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Turn binary messages, none of them empty, into pieces of at most a quarter of a second, as they come.

    A piece is a list with linear16 at 16 kHz for each channel, all of the same length. Without `multichannel`, all
    channels are mixed into one.

    Raises:
        Undecodable: The data is not audio, or not in the declared encoding.
    """
    if options.encoding is None:
        frames = _from_container(data, None)
    elif options.encoding in _DEMUXERS:
        data = data if options.encoding in ("flac", "ogg-opus") else _without_header(options, data)
        frames = _from_container(data, _DEMUXERS[options.encoding])
    else:
        frames = _from_pcm(options, _without_header(options, data))
    # It mixes the channels, or (with the layout of the first frame) keeps them apart. Packed, because PyAV reads beyond
    # the end of a planar frame with more than 8 channels.
    resampler = av.AudioResampler(format="s16", layout=None if options.multichannel else "mono", rate=SAMPLE_RATE)
    step = int(PIECE_SECONDS * SAMPLE_RATE)
    for frame in itertools.chain(frames, [None]):
        if frame is not None:
            frame.pts = None
        # Frames of a container that are not like its first are left out.
        with contextlib.suppress(av.error.FFmpegError, ValueError):
            for resampled in resampler.resample(frame):
                samples = resampled.to_ndarray().reshape(-1, resampled.layout.nb_channels)
                for offset in range(0, len(samples), step):
                    yield [channel.tobytes() for channel in samples[offset : offset + step].T]


def _without_header(options: StreamOptions, data: Iterator[bytes]) -> Iterator[bytes]:
    """The same messages, unless they begin like a file."""
    head = b""
    for chunk in data:
        if len(head) < 12:
            head = (head + chunk)[:64]
            if container := headed(head):
                raise Undecodable(
                    f"the audio is a {container} file, but encoding={options.encoding} was declared. "
                    "Leave out encoding and sample_rate, or send the samples without the header"
                )
        yield chunk


def _from_pcm(options: StreamOptions, data: Iterator[bytes]) -> Iterator[Any]:
    codec, sample_bytes = _PCM[str(options.encoding)]
    # To the codec it is one channel: FFmpeg has no layout for every number of channels.
    context: Any = av.CodecContext.create(codec, "r")
    context.sample_rate, context.layout = options.sample_rate, "mono"
    width = sample_bytes * options.channels
    # Much at a time would need much memory.
    most = width * min(int(PIECE_SECONDS * context.sample_rate), _PIECE_SAMPLES // options.channels)
    rest = b""
    for chunk in data:
        rest += chunk
        whole = len(rest) - len(rest) % width
        for offset in range(0, whole, most):
            (decoded,) = context.decode(av.Packet(rest[offset : min(offset + most, whole)]))
            samples = decoded.to_ndarray().reshape(-1, options.channels)
            if options.encoding == "linear32":
                # Deepgram's linear32 is floating point, full scale 1. Integers become noise, as at Deepgram.
                samples = (np.nan_to_num(samples, nan=0.0).clip(-1, 1) * 32767).round().astype("<i2")
            if not options.multichannel:
                samples = samples.mean(axis=1, keepdims=True).round().astype("<i2")
            # Packed: a column for each channel.
            layout = "mono" if samples.shape[1] == 1 else f"{samples.shape[1]}C"
            frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
            frame.sample_rate = decoded.sample_rate
            yield frame
        rest = rest[whole:]


def _from_container(data: Iterator[bytes], demuxer: str | None) -> Iterator[Any]:
    head = next(data, b"")
    if not head:
        return
    if demuxer is None:
        head, demuxer = _sniffed(head, data)
    decoded = False
    try:
        with av.open(_Pipe(head, data), "r", format=demuxer, options=_PROBE, metadata_errors="replace") as source:
            if not source.streams.audio:
                raise Undecodable("there is no audio in it")
            for packet in source.demux(source.streams.audio[0]):
                # A packet may be damaged; the next may be good.
                with contextlib.suppress(av.error.FFmpegError):
                    for frame in packet.decode():
                        _check(frame)
                        decoded = True
                        yield frame
    except (av.error.FFmpegError, ValueError, IndexError):
        if not decoded:
            raise Undecodable("the audio does not decode") from None
    if not decoded:
        raise Undecodable("there is no audio in it")


def _check(frame: Any) -> None:
    rate, channels = frame.sample_rate, frame.layout.nb_channels
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise Undecodable(f"it has {rate} samples a second; {LOWEST_RATE} to {HIGHEST_RATE} are taken")
    if channels > MOST_CHANNELS:
        raise Undecodable(f"it has {channels} channels; at most {MOST_CHANNELS} are taken")


def _sniffed(head: bytes, data: Iterator[bytes]) -> tuple[bytes, str]:
    """The beginning of the audio, as much as was read, and the demuxer for its container."""
    for size in (64, 4096, 16_384):
        while len(head) < size and (chunk := next(data, b"")):
            head += chunk
        if container := container_of(head[:size]):
            return head, "matroska" if container == "WebM" else container.lower()
    raise Undecodable("the audio has no header that is known. Raw audio needs encoding and sample_rate")


def headed(head: bytes) -> str | None:
    """The container whose header the audio begins with; None without a header."""
    return next((container for at, magic, container in _MAGIC if head[at : at + len(magic)] == magic), None)


def container_of(head: bytes) -> str | None:
    """The container, or None. MP3 and AAC have no header, so they may begin in the middle of a frame.

    FFmpeg's own guess is not strict enough: it finds an MP3 in almost any noise, raw samples included.
    """
    return headed(head) or next((codec for codec in ("MP3", "AAC") if _decodes(codec.lower(), head)), None)


def _decodes(codec: str, head: bytes) -> bool:
    """Whether several frames of a codec follow each other. In noise, now and then a single one decodes."""
    context: Any = av.CodecContext.create(codec, "r")
    in_a_row = 0
    for packet in context.parse(head):
        try:
            in_a_row = in_a_row + 1 if context.decode(packet) else 0
        except av.error.FFmpegError:
            in_a_row = 0
        if in_a_row == _IN_A_ROW:
            return True
    return False


class _Pipe:
    """The file that PyAV reads: one message after another. It has no `seek`, so PyAV does not try."""

    def __init__(self, head: bytes, data: Iterator[bytes]) -> None:
        self._rest, self._data = memoryview(head), data

    def read(self, size: int) -> bytes:
        self._rest = self._rest or memoryview(next(self._data, b""))
        taken, self._rest = self._rest[:size], self._rest[size:]
        return bytes(taken)
