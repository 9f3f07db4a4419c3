"""The panel's choice of a source: a recording, a station, a path or address, an uploaded file."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import ipywidgets as widgets

from dgnb import samples
from dgnb.audio import Audio, AudioSource, BufferSource, FileSource, URLSource, as_source
from dgnb.exceptions import ConfigurationError
from dgnb.notices import escaped

SAMPLE: Final = "The sample recording"
RADIO: Final = "The radio on this machine"
TYPED: Final = "A path or address"
UPLOAD: Final = "A file of this browser"
GIVEN: Final = "As given in code"


class LocalRadio(AudioSource):
    """The station of the offline engine's process. Opening it starts the process if it does not run yet."""

    name = "the radio on this machine"

    async def open(self, *, multichannel: bool = False) -> Audio:
        """Start the process and open the station. See `AudioSource.open`."""
        from dgnb import offline

        url = await asyncio.to_thread(offline.radio_url)
        return await URLSource(url).open(multichannel=multichannel)


class SourceChoice(widgets.VBox):  # type: ignore[misc]
    """Which source the next start takes. The arguments are those of `PanelView`."""

    def __init__(self, source: Any, changed: Callable[[], object], *, shared: bool = False) -> None:
        self._given = source
        self._shared = shared
        typed = isinstance(source, str) and bool(source)
        kinds = [SAMPLE, RADIO, TYPED, UPLOAD]
        if source is not None and not typed:
            kinds.insert(0, GIVEN)
        self.kind = widgets.Dropdown(
            options=kinds, value=TYPED if typed else kinds[0], description="Source", layout=sized("22em")
        )
        self.typed = widgets.Text(
            value=source if typed else "",
            placeholder="talk.wav or https://example.org/radio.mp3",
            description="Path or URL",
            continuous_update=False,
            layout=sized("36em"),
        )
        self.typed.add_class("dgnb-source")
        self.upload = widgets.FileUpload(accept="audio/*,video/*", multiple=False, description="Choose")
        self.uploaded = widgets.HTML()
        self._file: tuple[str, bytes] | None = None
        self._uploading = widgets.HBox([self.upload, self.uploaded])
        super().__init__([widgets.Box([self.kind, self.typed, self._uploading], layout=row())])
        self._changed = changed
        self.kind.observe(lambda _: self._choose(), "value")
        self.typed.observe(lambda _: changed(), "value")
        self.upload.observe(lambda _: self._take_upload(), "value")
        self._show()

    def enable(self, enabled: bool) -> None:
        """Let the choice be changed, or not."""
        for control in (self.kind, self.typed, self.upload):
            control.disabled = not enabled

    def source(self, **raw: Any) -> AudioSource:
        """The chosen source. `raw` says how audio without a header is read: `encoding`, `sample_rate`, `channels`."""
        if self.kind.value == SAMPLE:
            return FileSource(samples.path())
        if self.kind.value == RADIO:
            return LocalRadio()
        if self.kind.value == UPLOAD:
            if self._file is None:
                raise ConfigurationError("No file was chosen yet: press Choose.")
            name, data = self._file
            source = BufferSource(data, **raw)
            source.name = name
            return source
        if self.kind.value == TYPED:
            return as_source(self.typed.value.strip(), shared=self._shared, **raw)
        return as_source(self._given, **raw)

    @property
    def takes_format(self) -> bool:
        """Whether the format of raw audio applies. The sample, the radio and an `AudioSource` know their own."""
        if self.kind.value == GIVEN:
            return not isinstance(self._given, AudioSource)
        return self.kind.value in (TYPED, UPLOAD)

    def code(self) -> tuple[str, str]:
        """The chosen source as a Python expression, and a comment on what to do before the code runs, or ""."""
        if self.kind.value == SAMPLE:
            return "dgnb.samples.path()", ""
        if self.kind.value == RADIO:
            return "dgnb.loopback.radio_url()", ""
        if self.kind.value == TYPED:
            return repr(self.typed.value.strip()), ""
        if self.kind.value == UPLOAD:
            name = self._file[0] if self._file else ""
            return repr(name), "# You uploaded this file to the panel: put it beside the notebook first."
        return "source", "# `source` is what you gave to ControlPanel."

    def _choose(self) -> None:
        self._show()
        self._changed()

    def _show(self) -> None:
        self.typed.layout.display = None if self.kind.value == TYPED else "none"
        self._uploading.layout.display = None if self.kind.value == UPLOAD else "none"

    def _take_upload(self) -> None:
        """Keep the file here and take it out of the widget, because notebooks save the state of widgets."""
        value = self.upload.value
        if not value:
            return
        # ipywidgets 7 gives a mapping by name, ipywidgets 8 a tuple of records.
        name, record = next(iter(value.items())) if isinstance(value, dict) else (value[0]["name"], value[0])
        self._file = (str(name), bytes(record["content"]))
        self.upload.value = {} if isinstance(value, dict) else ()
        self.uploaded.value = f"{escaped(name)}, {len(self._file[1]) / 1e6:.1f} MB"
        self._changed()


def sized(width: str) -> Any:
    """A layout of this CSS width that fits on narrow screens."""
    return widgets.Layout(width=width, max_width="100%")


def row() -> Any:
    """A layout for controls side by side, which wrap on narrow screens."""
    return widgets.Layout(flex_flow="row wrap", width="100%", align_items="center")
