"""`DeviceSource`: a microphone of this machine, by sounddevice; and `Feed`, on which every microphone is built."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from dgnb.audio.resample import Resampler
from dgnb.audio.source import CHUNK_SECONDS, SAMPLE_RATE, Audio, AudioSource, Note
from dgnb.audio.threads import in_daemon
from dgnb.exceptions import AudioError
from dgnb.options import MOST_CHANNELS

_PATIENCE: Final = 3  # s without sound after which a device is lost: PortAudio does not tell on every system.
_MUTE: Final = 20  # Chunks of zeros that are worth a warning: a microphone has some noise.
_ZEROS: Final = (
    "gives only zeros. On macOS, allow the microphone for the program that runs the kernel (Terminal, VS Code) in "
    "System Settings, Privacy & Security, and restart that program. On other systems, look whether it is muted."
)


class Feed:
    """Sound that callbacks put in on the loop, as the chunks of an `Audio`; one channel is the mix of all."""

    def __init__(self, channels: int, close: Callable[[], Awaitable[None]]) -> None:
        self._items: asyncio.Queue[bytes | Note | AudioError | None] = asyncio.Queue()
        self._resampler = Resampler(channels)
        self._rest = bytearray()
        self.audio = Audio(self, close, channels=channels, live=True, waits=False)

    def sound(self, samples: bytes, rate: int, channels: int) -> None:
        """Put interleaved linear16. Its rate and channels may change."""
        import av
        import numpy as np

        layout = {1: "mono", 2: "stereo"}.get(channels, f"{channels} channels")
        frame = av.AudioFrame.from_ndarray(np.frombuffer(samples, "<i2")[None], format="s16", layout=layout)
        frame.sample_rate = rate
        self._rest += self._resampler([frame])
        size = 2 * self.audio.channels * round(SAMPLE_RATE * CHUNK_SECONDS)
        while len(self._rest) >= size:
            self._items.put_nowait(bytes(self._rest[:size]))
            del self._rest[:size]

    def put(self, item: Note | AudioError | None) -> None:
        """Put a note behind the sound so far; None or an error ends it."""
        if not isinstance(item, Note) or item.missed:
            self._items.put_nowait(bytes(self._rest + self._resampler.flush()))
            self._rest.clear()
        self._items.put_nowait(item)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not isinstance(item := await self._items.get(), bytes):
            if not isinstance(item, Note):
                self._items.put_nowait(None)  # it stays ended
                raise item or StopAsyncIteration
            self.audio.notes.append(item)
        return item


class DeviceSource(AudioSource):
    """A microphone of the kernel's machine: the default one for True, else an index or a part of a name."""

    def __init__(self, device: bool | int | str) -> None:
        self.name = "the default microphone" if device is True else f"the microphone {device!r}"
        self._device = None if device is True else device
        self._opening: asyncio.Future[tuple[Feed, Any]] | None = None  # Until what it opened is closed.
        self._silent = self._zeros = 0

    async def open(self, *, multichannel: bool = False) -> Audio:
        """Open the device with its own rate, in a thread: Bluetooth may take seconds. See `AudioSource.open`."""
        if self._opening:
            raise AudioError(f"{self.name} is open in another session: stop that one, or make another Microphone.")
        loop = asyncio.get_running_loop()
        self._opening = opening = asyncio.ensure_future(in_daemon(self._open, loop, multichannel))
        try:
            feed, _ = await asyncio.shield(opening)
        except BaseException:
            self._opening = None
            opening.add_done_callback(lambda done: None if done.exception() else done.result()[1].close())
            raise
        self._watch(loop, feed, opening)
        return feed.audio

    def _open(self, loop: asyncio.AbstractEventLoop, multichannel: bool) -> tuple[Feed, Any]:
        sounddevice = _sounddevice()
        stream: Any = None
        try:
            found = sounddevice.query_devices(self._device, "input")
            channels = min(MOST_CHANNELS, found["max_input_channels"]) if multichannel else 1
            rate = round(found["default_samplerate"])
            feed = Feed(channels, lambda: self._close(stream))

            def heard(samples: Any, frames: int, time: Any, status: Any) -> None:
                # In PortAudio's thread. It uses its buffer again.
                loop.call_soon_threadsafe(self._heard, feed, bytes(samples), rate, channels, status.input_overflow)

            stream = sounddevice.RawInputStream(
                rate, round(rate * CHUNK_SECONDS), found["index"], channels, "int16", callback=heard
            )
            self._silent = self._zeros = 0
            stream.start()
        except (ValueError, sounddevice.PortAudioError) as error:
            if stream:
                stream.close()
            todo = f"Choose one of {device_names()}, end what else uses it, or restart the kernel to find a new one."
            raise AudioError(f"{self.name} can't be opened: {error}. {todo}") from None
        return feed, stream

    def _heard(self, feed: Feed, samples: bytes, rate: int, channels: int, overflow: bool) -> None:
        self._silent, self._zeros = 0, 0 if any(samples) else self._zeros + 1
        if self._zeros == _MUTE:
            feed.put(Note("warning", f"{self.name} {_ZEROS}"))
        if overflow:
            feed.put(Note("source", f"{self.name}: this machine was too busy, and some sound was lost"))
        feed.sound(samples, rate, channels)

    def _watch(self, loop: asyncio.AbstractEventLoop, feed: Feed, opening: object) -> None:
        """Look each second whether sound still comes. A loop that was blocked has looked only once meanwhile."""
        self._silent += 1
        if self._opening is opening and self._silent <= _PATIENCE:
            loop.call_later(1.0, self._watch, loop, feed, opening)
        elif self._opening is opening:
            feed.put(AudioError(f"{self.name} was lost. Plug it in, and call session.retry() or start again."))

    async def _close(self, stream: Any) -> None:
        self._opening = None
        await in_daemon(stream.close)


def device_names() -> list[str]:
    """The names of the microphones of the kernel's machine. AudioError: sounddevice or PortAudio is missing."""
    return [device["name"] for device in _sounddevice().query_devices() if device["max_input_channels"]]


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError:
        raise AudioError('A microphone of this machine needs sounddevice: pip install "dgnb[device]".') from None
    except OSError as error:
        raise AudioError(f"{error}. Install it; on Debian and Ubuntu: apt install libportaudio2.") from None
    return sounddevice
