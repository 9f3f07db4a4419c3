"""What the decoder's thread does: it decodes bytes to linear16 at 16 kHz with FFmpeg. It knows no loop and no path."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from dgnb.audio.head import Head, reason, refuse, undecodable
from dgnb.audio.resample import Resampler
from dgnb.audio.source import CHUNK_SECONDS, HIGHEST_RATE, LOWEST_RATE, SAMPLE_RATE, Note, SourceFormat
from dgnb.audio.timeline import MOST_MISSED, Timeline
from dgnb.audio.tracks import chosen, other_tracks, stated_end
from dgnb.exceptions import AudioError
from dgnb.options import MOST_CHANNELS

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_SAFE: Final = {"protocol_whitelist": "none"}
# FFmpeg's own limits are 1 MB and 5 s: with those, the first words of a stream would come late.
_STREAM: Final = {**_SAFE, "formatprobesize": "4096", "probesize": "65536", "analyzeduration": "100000"}
_MOST_DAMAGED: Final = 50
_PLAIN: Final = ("wav", "w64", "aiff", "au", "caf", "flac")  # Formats whose timestamps count samples
_COUNTED: Final = (*_PLAIN, "mov", "matroska")
"""Formats that state their length, by FFmpeg's names. FFmpeg guesses the length of others."""
_SHORT: Final = 0.15  # Seconds that may be missing at the end without a warning
_LONG: Final = 1.0  # Seconds that may come after the stated end without a warning: encoders pad
_SETTLED: Final = 2
"""Seconds after which it does not matter what was decoded before: the resampler's filter, and whether sides differ."""
_LOOK_BACK: Final = 50  # Seconds. FLAC of 44.1 kHz has each 41 s a frame that begins with a sample of 16 kHz.
_NOMINAL: Final = {"amr-nb": 1600, "amr-wb": 3000, "g729": 1000, "opus": 6000, "speex": 3500}
"""Bytes a second of encodings without a fixed rate: a middle bit rate, to pace them."""


class Detected(dict[str, Any]):
    """What the chunks after it are: arguments of `Audio`."""

    start: float | None = None
    """The second at which they begin; None: the file can't be sought, and they begin with it."""


Item: TypeAlias = Detected | Note | bytes
"""What goes through the queue of a decoder's thread. A note goes before the chunk that it belongs to."""


def decoded(
    open_file: Callable[[], Any],
    name: str,
    raw: SourceFormat | None,
    *,
    multichannel: bool = False,
    track: int | str | None = None,
    live: bool = False,
    start: float | None = None,
) -> Generator[Item, None, None]:
    """The chunks of one file. With `start`, from shortly before it if they are the same to the bit then, else all."""
    decoder = Decoder(name, raw, multichannel=multichannel, track=track)
    with contextlib.closing(open_file()) as file:
        yield from decoder.chunks(file, live=live, start=start)
    yield from decoder.rest()


class Decoder:
    """Decodes one file after another into one row of chunks; `multichannel` keeps the channels of the first."""

    def __init__(
        self, name: str, raw: SourceFormat | None, *, multichannel: bool, track: int | str | None = None
    ) -> None:
        self.channels = 0 if multichannel else 1
        self._name = name
        self._raw = raw
        self._track = track
        self._resampler: Resampler | None = None
        self._one_sided = False
        self._held: list[AudioFrame] = []
        self._pending = bytearray()
        self._heard = 0
        self._damages: list[float] = []  # where in the sound they are
        self._start: float | None = None
        self._timeline = Timeline(None, fills=False)

    def chunks(
        self, file: Any, *, live: bool = False, waits: bool = True, start: float | None = None
    ) -> Iterator[Item]:
        """A `Detected`, and all whole chunks. What is left over goes before the next file."""
        head = Head(file)
        self._raw = getattr(file, "format", None) or self._raw
        refuse(head.start, self._name, self._raw)
        try:
            with opened(head, self._raw) as container:
                self._start = None if start is None else self._sought(container, start)
                yield from self.container(container, live=live, waits=waits)
                if self._heard and not self._raw and (other := self._other_length(container, head)):
                    yield Note("warning", other)
                elif waits and self._damages:
                    yield self._damage()
        except AudioError:
            raise
        except Exception as error:
            if not self._heard or not waits or head.error:
                raise head.error or AudioError(undecodable(error, self._name, head)) from None
            came = f"{self._timeline.position:.1f} s of it are there"
            yield Note("warning", f"{self._name} is damaged: {came}, and it can't be read on ({reason(error)}).")
        if head.error:
            raise head.error
        if not self._heard and not start:
            raise AudioError(f"{self._name} holds no samples. Was it recorded, or downloaded, to the end?")

    def container(self, container: InputContainer, *, live: bool, waits: bool) -> Iterator[Item]:
        """As `chunks`, of what is open already. An FFmpegError says that it can't be read on."""
        self._heard = 0
        self._timeline = Timeline(container.start_time if waits else None, fills=waits)
        self._timeline.position = self._start or 0.0
        stream = chosen(container, self._name, self._track)
        first = self._resampler is None and self._track is None
        if first and (others := other_tracks(container, stream)):
            yield Note("warning", f"{self._name} has several audio tracks. {others} Use track= for another.")
        ahead, form = 0.0, None
        # What is not live may come in larger parts, which cost less.
        part = CHUNK_SECONDS if live else 2 * CHUNK_SECONDS
        try:
            for frame in self._frames(container, stream):
                rate, before, form = frame.sample_rate, form, (frame.format.name, frame.layout.name, frame.sample_rate)
                if not before:
                    self._begin(frame.layout.nb_channels)
                    length = self._timeline.since_start(stated_end(container, stream)) if waits else 0.0
                    detected = Detected(channels=self.channels, live=live, waits=waits, length=length or None)
                    detected.start = self._start
                    yield detected
                if form != before:
                    yield from self._converted()
                    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
                        most = f"from {LOWEST_RATE} to {HIGHEST_RATE}"
                        raise AudioError(f"{self._name} has {rate} samples a second, not {most}. Is its header right?")
                missed = self._timeline.missed(frame)
                if missed:
                    yield from self._converted(last=True)
                    yield from self._missing(missed, waits)
                self._held.append(frame)
                self._timeline.position += frame.samples / rate
                ahead += frame.samples / rate
                if ahead >= part:
                    yield from self._converted()
                    ahead = len(self._pending) / (2 * self.channels * SAMPLE_RATE)
        except Exception:
            yield from self._converted(last=True)
            raise
        yield from self._converted(last=True)
        if waits and self._damages and self._damages[0] < self._timeline.position:
            yield self._damage()

    def _sought(self, container: InputContainer, start: float) -> float | None:
        """Seek to where a sample of 16 kHz begins a frame, shortly before a second. Returns its second, or None."""
        stream = chosen(container, self._name, self._track)
        plain = self._raw or container.format.name in _PLAIN
        base = stream.time_base
        if not plain or not base or not stream.codec_context.name.startswith(("pcm_", "flac")):
            return None
        zero = stream.start_time or 0
        found = zero if start <= _SETTLED else None
        container.seek(zero + int(max(0, int(start) - _LOOK_BACK) / base), stream=stream)
        for packet in container.demux(stream):
            if packet.pts is None:
                found = None  # the end: its last packet may be cut short
                break
            at = (packet.pts - zero) * base
            if at > start - _SETTLED:
                break
            found = packet.pts if (at * SAMPLE_RATE).denominator == 1 else found
        container.seek(zero if found is None else found, stream=stream)
        return None if found is None else float((found - zero) * base)

    def _frames(self, container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
        """Every frame that decodes. A damaged packet is counted and left out."""
        import av

        decoded = stumbled = 0
        packets = container.demux(stream)
        self._damages.clear()
        last: Exception | None = None
        while True:
            try:
                packet = next(packets, None)
            except av.error.InvalidDataError as error:
                # FFmpeg goes on at what it recognises next.
                last, stumbled = error, stumbled + 1
                self._damages.append(self._timeline.position)
                packets = container.demux(stream)
                if stumbled > _MOST_DAMAGED:
                    raise
                continue
            if packet is None:
                break
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                last = error
                self._damages.append(self._timeline.position)
                if not decoded and len(self._damages) > _MOST_DAMAGED:
                    raise
                continue
            decoded += len(frames)
            yield from frames
        if last and not decoded:
            raise last

    def _begin(self, channels: int) -> None:
        if not self.channels and channels > MOST_CHANNELS:
            raise AudioError(f"{self._name} has {channels} channels; multichannel takes {MOST_CHANNELS} at most.")
        self.channels = self.channels or channels
        self._resampler = self._resampler or Resampler(self.channels)

    def _damage(self) -> Note:
        where = f"{len(self._damages)} of its parts do not decode and are left out, from {self._damages[0]:.1f} s on"
        self._damages.clear()
        return Note("warning", f"{self._name} is damaged: {where}.")

    def _converted(self, *, last: bool = False) -> Iterator[Item]:
        """The whole chunks of the frames that are held. `last`: what comes next does not follow on them."""
        if not self._resampler:
            return
        samples = self._resampler(self._held)
        self._held.clear()
        if self._resampler.one_sided and not self._one_sided:
            self._one_sided = True
            text = "left and right are opposite and would cancel each other out in the mix, so only the left is heard"
            yield Note("warning", f"{self._name}: from {self._timeline.position:.1f} s on, {text}.")
        if last:
            samples += self._resampler.flush()
        yield from self._whole_chunks(samples)

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
            ahead = self._timeline.position - (self._start or 0.0)
            silent = round(ahead * SAMPLE_RATE) - self._heard // (2 * self.channels)
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

    def _other_length(self, container: InputContainer, head: Head) -> str:
        """The warning for a file that holds less or more than its header states, or ""."""
        kind = container.format.name.partition(",")[0]
        came = self._timeline.position
        short = f"{self._name} is cut short: {came:.1f} s of it are there, and its header promises"
        if head.surplus < 0:
            return f"{short} {-head.surplus} bytes more."
        if head.surplus:
            return f"{self._name} holds {head.surplus} bytes more than its header promises; {came:.1f} s are heard."
        if kind not in _COUNTED or (kind == "mov" and not head.can_seek):
            return ""
        end = stated_end(container, chosen(container, self._name, self._track))
        end = self._timeline.since_start(end) if end else came
        if came < end - _SHORT:
            return f"{short} {end:.1f} s."
        if came > end + _LONG:
            return f"{self._name} is longer than the {end:.1f} s that its header promises; all {came:.1f} s are heard."
        return ""


def passed(open_file: Callable[[], Any], name: str, raw: SourceFormat | None) -> Generator[Item, None, None]:
    """The bytes as they are, in chunks of about 100 ms."""
    with contextlib.closing(open_file()) as file:
        head = Head(file)
        refuse(head.start, name, raw)
        frame = (raw and raw.frame_bytes) or 1
        if raw and raw.encoding not in ("flac", "ogg-opus"):
            rate = float(_NOMINAL.get(raw.encoding) or frame * raw.sample_rate)
        else:
            rate, channels = _byte_rate(head, name)
        form: Any = dataclasses.asdict(raw) if raw else {"encoding": None, "sample_rate": None, "channels": channels}
        yield Detected(form, bytes_per_second=rate)
        size = max(1, round(rate * CHUNK_SECONDS / frame)) * frame
        head.rewind()
        while chunk := file.read(size):
            yield chunk


def opened(head: Head, raw: SourceFormat | None) -> InputContainer:
    """FFmpeg's view of a file. It raises FFmpeg's errors."""
    import av

    options = {**_SAFE, "ignore_length": str(int(head.surplus > 0))} if head.can_seek else _STREAM
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


def _byte_rate(head: Head, name: str) -> tuple[float, int]:
    """The average bytes a second of a container, and its number of channels."""
    import av

    try:
        with av.open(cast("Any", head), "r", options=dict(_SAFE), metadata_errors="replace") as container:
            channels = chosen(container, name, None).channels or 1
            duration = (container.duration or 0) / av.time_base
            if duration <= 0:
                # A recorder that writes as it goes does not know how long it will be: its timestamps do.
                times = [float(packet.pts * packet.time_base) for packet in container.demux() if packet.pts is not None]
                duration = max(times, default=0.0) - min(times, default=0.0)
    except AudioError:
        raise
    except Exception as error:
        raise AudioError(undecodable(error, name, head)) from None
    return (head.size / duration if duration > 0 else 16_000.0), channels
