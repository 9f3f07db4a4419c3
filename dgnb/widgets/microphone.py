"""`Microphone`: the browser's microphone, or one of the kernel's machine, as a source."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import traitlets
from anywidget import AnyWidget

from dgnb.audio import CHUNK_SECONDS, Audio, AudioSource, Note
from dgnb.audio.device import DeviceSource, Feed, device_names
from dgnb.exceptions import AudioError, ConfigurationError
from dgnb.notices import host, say
from dgnb.values import native
from dgnb.widgets.captions import SCRIPT, STYLE

__all__ = ["Microphone"]

PART: Final = Path(__file__).with_name("microphone.js").read_text(encoding="utf-8")
_PATIENCE: Final = 3  # s after which a page that is missing is mentioned.
_AWAY: Final = "nothing comes from the page of the microphone. Was it closed? Show it again, and click Start there"
_SHOW: Final = "The session waits: show the microphone as the last line of a cell, let the cell end, and click Start."


class _View(AnyWidget):
    _esm = f"{SCRIPT}\n{PART}\nexport default {{ render: showMicrophone }};\n"
    _css = STYLE
    tab = traitlets.Bool().tag(sync=True)


class Microphone(AudioSource):
    """The microphone of the browser that shows the notebook, or one of the kernel's machine.

    Without `device` it is the browser's: show it in a cell, and click Start when a session waits for it. Stop ends the
    source, and the end of the session releases the microphone. While the kernel is busy, the page keeps 60 s of sound;
    older sound, and the time in which the page was closed or the microphone was gone, become rows in `gaps`.

    Args:
        device: True for the default microphone of the kernel's machine, or an index, or a part of a name as in
            `Microphone.devices()`. It needs the extra `device`.
        with_tab_audio: Record a tab of Chrome or Edge too. With `multichannel`, channel 1 is the tab; else it is mixed.

    Example:
        ```python
        microphone = dgnb.Microphone()
        session = dgnb.LiveSession(microphone).start()
        microphone
        ```

    Raises:
        ConfigurationError: An argument is wrong.
    """

    devices = staticmethod(device_names)

    def __init__(self, device: bool | int | str | None = None, *, with_tab_audio: bool = False) -> None:
        device = native(device)
        known = device is None or device is True or type(device) in (int, str)
        if not known or (device is not None and with_tab_audio):
            raise ConfigurationError(f"device is True, an index or a name, without with_tab_audio, and not {device!r}.")
        self.device = None if device is None else DeviceSource(device)
        self.name = self.device.name if self.device else "the browser's microphone"
        self.send: Callable[[dict[str, Any]], object] = lambda message: None  # To the page that shows it.
        self._tab = bool(with_tab_audio)
        self._seen = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._feed: Feed | None = None
        self._begun = asyncio.Event()
        # The recording of a page; its last chunk, and when that was, in ms; seconds without one.
        self._take, self._last, self._at, self._silent = "", -1, 0, 0

    @functools.cached_property
    def widget(self) -> AnyWidget:
        """The browser's microphone as a widget, to put it into a box."""
        view = _View(tab=self._tab)
        view.on_msg(lambda _, message, buffers: self.take(message, buffers))
        self.send = view.send
        return view

    def _repr_mimebundle_(self, **how: Any) -> Any:
        return {"text/plain": repr(self)} if self.device else self.widget._repr_mimebundle_(**how)

    async def open(self, *, multichannel: bool = False) -> Audio:
        """Open the device; of the browser's microphone, wait for a click on Start. See `AudioSource.open`."""
        if self.device:
            return await self.device.open(multichannel=multichannel)
        if self._feed:
            raise AudioError(f"{self.name} is open in another session: stop that one, or make another Microphone.")
        if not self._seen and host() != "notebook":
            raise AudioError("No page shows this microphone, as this is no notebook. Use dgnb.Microphone(device=True).")
        self._loop, self._begun = asyncio.get_running_loop(), asyncio.Event()
        self._feed = feed = Feed(2 if multichannel and self._tab else 1, self._close)
        self._take, self._at, self._silent = "", 0, 0
        self._tell()
        self._watch(feed)
        try:
            await self._begun.wait()
        except asyncio.CancelledError:
            await self._close()
            raise
        return feed.audio

    async def _close(self) -> None:
        self._feed = None
        self._tell()

    def _watch(self, feed: Feed) -> None:
        """Count the seconds without a chunk. A loop that was blocked has counted one meanwhile."""
        if self._loop and self._feed is feed:
            self._loop.call_later(1.0, self._watch, feed)
            if self._silent == _PATIENCE and self._begun.is_set():
                feed.put(Note("source", _AWAY))
            elif self._silent == _PATIENCE:
                say(_SHOW)
            self._silent += 1

    def _tell(self) -> None:
        self.send({"do": "microphone", "wanted": self._feed is not None, "take": self._take})

    def take(self, message: dict[str, Any], buffers: Any) -> None:
        """What a page says, a message of `microphone.js`. It may come in another thread."""
        if self._loop and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._said, message, buffers)
        else:
            self._said(message, buffers)

    def _said(self, message: dict[str, Any], buffers: Any) -> None:
        match message:
            case {"hello": True}:
                self._seen = True
                self._tell()
            case {"note": str(text), "lost": lost} if self._feed:
                self._take = "" if lost else self._take
                self._feed.put(Note("source", text))
            case {"take": str(take), "number": int(number), "after": int(after), "at": int(at)} if self._feed:
                if take != self._take and after == -1 and (not self._take or self._silent > _PATIENCE):
                    if self._at:
                        away = max(0.0, (at - self._at) / 1000 - CHUNK_SECONDS)
                        self._feed.put(Note("source", "the microphone is back", away))
                    self._take, self._last = take, -1
                    self._begun.set()
                if take != self._take:
                    self._tell()  # Another page records.
                elif number <= self._last or after == self._last:
                    self._chunk(self._feed, message, bytes(buffers[0]))

    def _chunk(self, feed: Feed, chunk: dict[str, Any], samples: bytes) -> None:
        """Take a chunk, unless it came before: the page asks again where it waits long for an answer."""
        number, last, self._silent = chunk["number"], self._last, 0
        if number > last:
            self._last, self._at = number, chunk["at"]
            if dropped := number - last - 1:
                feed.put(Note("source", "the browser or the kernel was too busy", dropped * CHUNK_SECONDS))
            if samples:
                feed.sound(samples, chunk["rate"], chunk["channels"])
            if chunk["ends"]:
                feed.put(None)
        if chunk["again"] or chunk["ends"] or number % 10 == 0:  # once a second
            lost = chunk["again"] and number > last
            self.send({"do": "microphone", "take": self._take, "had": self._last, "again": lost})
