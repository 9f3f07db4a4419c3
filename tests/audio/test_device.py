"""A microphone of the kernel's machine. sounddevice is a stand-in here: no sound card is needed."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import dgnb
from tests.support.samples import samples
from tests.support.waiting import until


class PortAudioError(Exception):
    """What sounddevice raises for an error of PortAudio."""


class SoundCard:
    """The part of sounddevice that is used, with three devices. `give` calls the callback as PortAudio does."""

    PortAudioError = PortAudioError

    def __init__(self) -> None:
        names = {"USB Mic": 1, "Speakers": 0, "Line In": 2}
        self.devices: list[dict[str, Any]] = [
            {"name": name, "index": index, "max_input_channels": channels, "default_samplerate": 48_000.0}
            for index, (name, channels) in enumerate(names.items())
        ]
        self.refuses = ""
        self.streams: list[dict[str, Any]] = []
        self.running = 0
        self._callback: Callable[..., None]

    def query_devices(self, device: int | str | None = None, kind: str | None = None) -> Any:
        if device is None and kind is None:
            return self.devices
        found = [one for one in self.devices if one["max_input_channels"] and device in (None, one["index"])]
        found = [one for one in self.devices if str(device) in one["name"]] if isinstance(device, str) else found
        if not found:
            raise ValueError(f"No input device matching {device!r}")
        return found[0]

    def RawInputStream(
        self, samplerate: int, blocksize: int, device: int, channels: int, dtype: str, *, callback: Callable[..., None]
    ) -> Any:
        if self.refuses:
            raise PortAudioError(self.refuses)
        assert dtype == "int16"
        self.streams.append({"rate": samplerate, "blocksize": blocksize, "device": device, "channels": channels})
        self._callback = callback
        return SimpleNamespace(start=lambda: self._count(1), close=lambda: self._count(-1))

    def _count(self, change: int) -> None:
        self.running += change

    def give(self, sound: np.ndarray[Any, Any], *, overflow: bool = False) -> None:
        buffer = bytearray(sound.astype("<i2").tobytes())
        status = SimpleNamespace(input_overflow=overflow)
        thread = threading.Thread(target=self._callback, args=(memoryview(buffer), len(sound), None, status))
        thread.start()
        thread.join()
        buffer[:] = bytes(len(buffer))  # PortAudio uses it again


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundCard]:
    card = SoundCard()
    monkeypatch.setitem(sys.modules, "sounddevice", card)  # type: ignore[arg-type]
    yield card
    assert card.running == 0


async def test_the_sound_of_the_device_comes_at_16_khz_and_closing_releases_it(card: SoundCard) -> None:
    audio = await dgnb.Microphone(device="Line").open(multichannel=True)
    assert card.streams == [{"rate": 48_000, "blocksize": 4_800, "device": 2, "channels": 2}]
    assert (audio.channels, audio.live, audio.waits) == (2, True, False)
    for _ in range(10):
        card.give(np.tile([8_000, 2_000], (4_800, 1)))
    chunks = [await anext(audio) for _ in range(9)]
    assert {len(chunk) for chunk in chunks} == {6_400}
    sound = np.frombuffer(b"".join(chunks[1:]), "<i2").reshape(-1, 2)
    assert np.abs(sound - [8_000, 2_000]).max() < 10
    await audio.aclose()
    assert card.running == 0


@pytest.mark.parametrize(("device", "index"), [(True, 0), (2, 2), ("Line", 2), (np.int64(2), 2)])
async def test_a_device_is_the_default_one_or_chosen_by_index_or_name(card: SoundCard, device: Any, index: int) -> None:
    await (await dgnb.Microphone(device).open()).aclose()
    assert [(stream["device"], stream["channels"]) for stream in card.streams] == [(index, 1)]
    assert dgnb.Microphone.devices() == ["USB Mic", "Line In"]


async def test_a_device_that_can_t_be_opened_names_the_others(card: SoundCard) -> None:
    with pytest.raises(dgnb.AudioError, match=r"'Headset' can't be opened: No input device .*'USB Mic', 'Line In'"):
        await dgnb.Microphone(device="Headset").open()
    card.refuses = "Device unavailable [PaErrorCode -9985]"
    with pytest.raises(dgnb.AudioError, match=r"Device unavailable .* end what else uses it"):
        await dgnb.Microphone(device=True).open()
    card.devices.clear()
    with pytest.raises(dgnb.AudioError, match=r"No input device matching None. Choose one of \[\]"):
        await dgnb.Microphone(device=True).open()


@pytest.mark.parametrize(
    ("error", "told"),
    [(ImportError(), r'pip install "dgnb\[device\]"'), (OSError("PortAudio library not found"), "libportaudio2")],
)
async def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch, error: Exception, told: str) -> None:
    class Missing:
        def find_spec(self, name: str, *more: object) -> None:
            if name == "sounddevice":
                raise error

    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(dgnb.AudioError, match=told):
        await dgnb.Microphone(device=True).open()
    with pytest.raises(dgnb.AudioError, match=told):
        dgnb.Microphone.devices()


async def test_two_seconds_of_zeros_are_a_warning_and_noise_is_none(card: SoundCard) -> None:
    audio = await dgnb.Microphone(device=True).open()
    for sound in (np.zeros(4_800), np.ones(4_800), *[np.zeros(4_800)] * 30):
        card.give(sound, overflow=sound.any())
    for _ in range(31):
        await anext(audio)
    kinds = [(note.type, note.text) for note in audio.notes]
    assert [kind for kind, _ in kinds] == ["source", "warning"]
    assert "too busy" in kinds[0][1]
    assert "only zeros. On macOS, allow" in kinds[1][1]
    await audio.aclose()


async def test_a_device_that_falls_silent_is_lost_and_the_session_can_go_on(
    card: SoundCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    later = loop.call_later
    soon = {1.0: 0.01}
    monkeypatch.setattr(loop, "call_later", lambda delay, *given, **how: later(soon.get(delay, delay), *given, **how))
    async with dgnb.loopback.serve(dgnb.loopback.Script("one two")) as server:
        session = dgnb.LiveSession(dgnb.Microphone(device=True), endpoint=server.url).start()
        await until(lambda: card.running)
        with pytest.raises(
            dgnb.AudioError, match=r"the default microphone was lost. Plug it in, and call session.retry"
        ):
            await session
        assert card.running == 0
        session.retry()
        await until(lambda: card.running)
        monkeypatch.undo()
        await session.stop()


async def test_one_microphone_serves_one_session_and_a_cancelled_opening_leaves_nothing_open(
    card: SoundCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    microphone = dgnb.Microphone(device=True)
    audio = await microphone.open()
    with pytest.raises(dgnb.AudioError, match="is open in another session"):
        await microphone.open()
    await audio.aclose()
    opened, refused = await asyncio.gather(microphone.open(), microphone.open(), return_exceptions=True)
    assert isinstance(refused, dgnb.AudioError)
    assert (len(card.streams), card.running) == (2, 1)
    await opened.aclose()
    slow, query = threading.Event(), card.query_devices
    monkeypatch.setattr(card, "query_devices", lambda *given: (slow.wait(5), query(*given))[1])
    opening = asyncio.ensure_future(microphone.open())
    await asyncio.sleep(0)
    opening.cancel()
    await asyncio.wait([opening])
    slow.set()
    await until(lambda: len(card.streams) == 3 and not card.running)


async def test_what_is_left_over_is_heard_before_the_end(card: SoundCard) -> None:
    from dgnb.audio.device import Feed

    async def close() -> None:
        pass

    feed = Feed(1, close)
    feed.sound(np.full(2_400, 7, "<i2").tobytes(), 16_000, 1)
    feed.put(None)
    assert (await samples(feed.audio)).ravel().tolist() == [7] * 2_400
