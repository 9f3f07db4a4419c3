"""`Recorder`: captured audio on disk while it comes: second t of the file is second t of the transcript."""

from __future__ import annotations

import atexit
import contextlib
import datetime
import os
import shutil
import sys
import tempfile
import uuid
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from dgnb import files
from dgnb._version import __version__
from dgnb.audio.decode import decoded
from dgnb.audio.file import FileSource
from dgnb.audio.source import SAMPLE_RATE, Audio
from dgnb.exceptions import AudioError, ConfigurationError, DgnbError

CODECS: Final = {".flac": "flac", ".ogg": "libopus", ".opus": "libopus"}
"""What the name of a recording ends in, and FFmpeg's name of its codec."""
LIMIT: Final = 7200.0  # s of audio that a recording without a path holds.
_HELD: Final = 0.3  # s. A stop may give back so much that was captured and not sent.
_KEPT: Final = 32_000_000  # Bytes of the file that wait for a full disk: half an hour of FLAC.


class Recorder:
    """The file that gets the samples which a session captures, and no others; None: a temporary one, for two hours.

    `open` and `write` run in a thread; the rest does no I/O. `moved` is where a former file went. While the disk takes
    nothing, half an hour is kept in memory, and silence of the same length for what comes later.
    """

    def __init__(self, path: str | None, title: str) -> None:
        self._bounded = path is None
        self.path = Path(path or "")
        # A link may lead to a file of any name.
        self._codec = CODECS[self.path.suffix.lower()] if path else "flac"
        self.source: FileSource | None = None
        self.moved: Path | None = None
        comment = f"Second t of this recording is second t of the transcript. {uuid.uuid4()}"
        self._tags = {"title": title, "comment": comment, "encoded_by": f"dgnb {__version__}"}
        self._rate = self._channels = 0
        self._pending = bytearray()  # Captured, and not taken yet.
        self._ended = False
        self._stream: Any = None
        self._out = bytearray()  # Encoded, and not on the disk yet.
        # Bytes of audio that were captured, that are encoded, and that became silence; bytes and samples of the file.
        self._captured = self._encoded = self._silent = self._size = self._samples = 0

    def __str__(self) -> str:
        until = f" until this process ends, {LIMIT / 3600:g} h at most; record='talk.flac' keeps it"
        return f"{self.path}{until if self._bounded else ''}"

    def open(self) -> Recorder:
        """Make the file; after an end, with what was recorded before. `ConfigurationError`: it can't be made."""
        if not self.path.name:
            folder = tempfile.mkdtemp(prefix="dgnb-")
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            self.path = Path(folder, "recording.flac")
        files.made(self.path, "recording", self._made)
        return self

    def begin(self, audio: Audio) -> None:
        """Audio of this format comes. `ConfigurationError`: it can't be recorded."""
        if audio.encoding != "linear16" or audio.channels > 8:
            raise ConfigurationError("Only decoded audio of up to 8 channels is recorded. Leave out record.")
        self._rate, self._channels, self._ended = audio.sample_rate or 0, audio.channels, False
        self._tags.setdefault("date", datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))

    def capture(self, chunk: bytes) -> None:
        """Take whole samples."""
        self._pending += chunk
        self._captured += len(chunk)

    def end(self, captured: int) -> None:
        """No more is captured, and what came after so many bytes was given back."""
        del self._pending[len(self._pending) - (self._captured - captured) :]
        self._captured, self._ended = captured, True

    def take(self) -> tuple[bytes]:
        """What is new, to pass to `write`: all but what a stop may give back."""
        held = 0 if self._ended else self._bytes(_HELD)
        audio = bytes(self._pending[: max(0, len(self._pending) - held)])
        del self._pending[: len(audio)]
        return (audio,)

    def write(self, batch: tuple[bytes], *, last: bool = False) -> str:
        """Append what `take` gave. Returns what is to be told. `DgnbError`: it is tried again."""
        if self._file.closed:
            return ""
        room = self._bytes(LIMIT) - self._encoded if self._bounded else sys.maxsize
        full = f"The recording is full: record=True holds {LIMIT / 3600:g} h. The session goes on."
        try:
            self._encode(batch[0][:room])
            if last and self._stream:
                self._mux(None)
                self._stream.container.close()
            self._append()
            if last:
                os.fsync(self._file.fileno())
                with contextlib.suppress(AudioError):
                    # Another file of this name is another sound from now on.
                    self.source and self.source.opened().close()
        except (OSError, ValueError) as error:
            text = f"The recording {str(self.path)!r} can't be written: {files.remedy(error)} The session goes on, and "
            raise DgnbError(text + "it is tried again each second.") from error
        finally:
            if last:
                self._file.close()
        silent, self._silent = self._silent, 0
        if silent:
            return f"The recording is written again: {silent / self._bytes(1):.1f} s of it are silence."
        if not last and not os.fstat(self._file.fileno()).st_nlink:
            return f"The recording {str(self.path)!r} was removed by others: its sound is lost."
        return full if len(batch[0]) > room else ""

    def _bytes(self, seconds: float) -> int:
        return round(seconds * self._rate) * 2 * self._channels

    def _made(self, path: Path, moved: Path | None) -> None:
        # For its owner alone. The last write closes it.
        self._file = open(path, "x+b", buffering=0, opener=partial(os.open, mode=0o600))  # noqa: SIM115
        encoded, self._encoded, self._size, self._samples, self._stream = self._encoded, 0, 0, 0, None
        self._out.clear()
        self.path, self.moved = path, moved
        self.source = self.source or FileSource(path)
        self.source.begin = b""
        if moved and not moved.stat().st_size:
            # A session that failed before it had sound left it.
            moved.unlink()
            self.moved = moved = None
        if encoded and moved and self._rate == SAMPLE_RATE:
            # What can't be read any more becomes silence.
            with contextlib.suppress(OSError, AudioError):
                for part in decoded(partial(moved.open, "rb"), moved.name, None, multichannel=True):
                    self._encode(part[: encoded - self._encoded] if isinstance(part, bytes) else b"")
                    self._append()
                moved.unlink()
                self.moved = None
        self._silent += encoded - self._encoded
        self._encode(bytes(encoded - self._encoded))

    def _encode(self, audio: bytes) -> None:
        if not audio:
            return
        import av
        import numpy as np

        how: Any = {"format": "s16", "layout": f"{self._channels} channels"}
        if self._stream is None:
            codec, rate, options = self._codec, self._rate, {}
            muxing = {"flush_packets": "1"}  # So that the muxer keeps nothing back.
            if codec == "libopus":
                rate, muxing["page_duration"] = 48_000, "200000"  # µs
                # A third of the CPU time of level 10. With the family 255, more than two channels keep their order.
                options = {"b": str(24_000 * self._channels), "compression_level": "5"}
                options["mapping_family"] = "255" if self._channels > 2 else "-1"
            sink: Any = SimpleNamespace(write=self._out.extend)
            container = av.open(sink, "w", format="ogg" if codec == "libopus" else codec, options=muxing)
            self._stream = container.add_stream(codec, rate, options, **how)
            container.metadata.update(self._tags)
            container.start_encoding()
        if len(self._out) > _KEPT:
            self._silent += len(audio)
            audio = bytes(len(audio))
        frame = av.AudioFrame.from_ndarray(np.frombuffer(audio, "<i2")[None], **how)
        frame.sample_rate = self._rate
        self._mux(frame)
        self._encoded += len(audio)

    def _mux(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            self._samples += packet.duration
            self._stream.container.mux(packet)

    def _append(self) -> None:
        """Write what is encoded, and the length into the header of FLAC; after a failure, the same again."""
        parts = [(self._size, bytes(self._out))]
        if self._out and self._codec == "flac":
            # The last 36 bits of STREAMINFO but its checksum: RFC 9639, 8.2. Before them, ones say 16 bits a sample.
            parts.append((21, (0xF << 36 | self._samples).to_bytes(5, "big")))
        for at, data in parts:
            self._file.seek(at)
            while data:
                data = data[self._file.write(data) :]
        self._size += len(self._out)
        self._out.clear()
