"""The panel's choice of a source: a recording, a station, a path or address, an uploaded file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any, Final

from dgnb import samples
from dgnb.audio import Audio, AudioSource, BufferSource, FileSource, URLSource, as_source
from dgnb.exceptions import ConfigurationError
from dgnb.widgets import form
from dgnb.widgets.microphone import Microphone

MICROPHONE: Final = "Microphone"
SAMPLE: Final = "The sample recording"
RADIO: Final = "The radio on this machine"
TYPED: Final = "A path or address"
UPLOAD: Final = "A file of this browser"
GIVEN: Final = "As given in code"
_MOST: Final = 500_000_000  # Bytes of an uploaded file, which is kept in memory


class LocalRadio(AudioSource):
    """The station of the offline engine's process. Opening it starts the process if it does not run yet."""

    name = "the radio on this machine"

    async def open(self, *, multichannel: bool = False) -> Audio:
        """Start the process and open the station. See `AudioSource.open`."""
        from dgnb import offline

        url = await asyncio.to_thread(offline.radio_url)
        return await URLSource(url).open(multichannel=multichannel)


class SourceChoice:
    """Which source the next start takes: the fields `source` and `path`, what code gave, and what was uploaded."""

    def __init__(self, given: Any, raw: dict[str, Any], *, shared: bool) -> None:
        self._raw = raw
        self._shared = shared
        self._name, self._size, self._data = "", 0, bytearray()
        typed = isinstance(given, str) and bool(given)
        self.kinds = [MICROPHONE, SAMPLE, RADIO, TYPED, UPLOAD]
        self.microphone = Microphone()
        if given is not None and not typed:
            self.kinds.insert(0, GIVEN)
            # Made once: an iterator or an open file knows then that it was read.
            self._given = as_source(given, **raw)
        self.values = {"source": TYPED if typed else SAMPLE if given is None else GIVEN, "path": given if typed else ""}

    def source(self, values: Mapping[str, Any]) -> AudioSource:
        """The chosen source. `ConfigurationError`: there is none, it is refused, or its format is wrong."""
        kind = values["source"]
        if kind == MICROPHONE:
            return self.microphone
        if kind == SAMPLE:
            return FileSource(samples.path())
        if kind == RADIO:
            return LocalRadio()
        if kind == UPLOAD:
            if not self._name:
                raise ConfigurationError("No file was chosen yet: choose one.")
            if len(self._data) < self._size:
                raise ConfigurationError("The file is still on its way: start again in a moment, or choose it again.")
            source = BufferSource(bytes(self._data), **form.format_of(values))
            source.name = self._name
            return source
        if kind == TYPED:
            return as_source(values["path"].strip(), shared=self._shared, **form.format_of(values))
        return self._given

    def format(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """How the chosen source is read, by argument. The sample, the radio and an `AudioSource` know their own."""
        if values["source"] == GIVEN:
            return self._raw
        return form.format_of(values) if values["source"] in (TYPED, UPLOAD) else {}

    def objection(self, values: Mapping[str, Any]) -> str:
        """What is wrong with the typed path or address as far as it can be seen without opening it, or ""."""
        if values["source"] != TYPED or not values["path"].strip():
            return ""
        try:
            source = as_source(values["path"].strip(), shared=self._shared)
        except ConfigurationError as error:
            return str(error)
        # In an app that others use, what is there and what is not is nobody's business.
        if isinstance(source, FileSource) and not self._shared and not os.path.exists(source.path):
            return f"There is no file {source.name!r} there. Relative paths begin in the working folder."
        return ""

    def code(self, values: Mapping[str, Any]) -> tuple[str, str]:
        """The chosen source as a Python expression, and what stands before it: a comment, or code, or ""."""
        if values["source"] == UPLOAD:
            return repr(self._name), "# You uploaded this file to the panel: put it beside the notebook first."
        if values["source"] == GIVEN:
            return "source", "# `source` is what you gave to ControlPanel."
        if values["source"] == MICROPHONE:
            return "microphone", "microphone = dgnb.Microphone()\ndisplay(microphone)  # Click Start there."
        expressions = {SAMPLE: "dgnb.samples.path()", RADIO: "dgnb.loopback.radio_url()"}
        return expressions.get(values["source"], repr(values["path"].strip())), ""

    def take(self, name: str, offset: int, size: int, part: bytes) -> str:
        """Keep a part of an uploaded file here, where no saved notebook has it. Gives what there is, to show it."""
        if offset == 0 and size > _MOST:
            # Without an answer, the page sends no further part.
            raise ConfigurationError(f"{name!r} is too large: at most {_MOST / 1e6:.0f} MB. Give its path instead.")
        if offset == 0:
            self._name, self._size, self._data = name, size, bytearray()
        if offset == len(self._data):
            self._data += part[: max(0, self._size - offset)]
        return f"{self._name}, {len(self._data) / 1e6:.1f} of {self._size / 1e6:.1f} MB" if self._name else ""
