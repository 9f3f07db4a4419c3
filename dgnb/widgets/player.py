"""`Player`: the words of a transcript under a sound bar, in a notebook and in a page of its own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import html
import json
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import traitlets
from anywidget import AnyWidget

from dgnb import files
from dgnb.audio import Sound
from dgnb.exceptions import ConfigurationError, DgnbError
from dgnb.notices import bundle, clock, escaped, printable
from dgnb.session import State, sessions
from dgnb.transcript import Transcript
from dgnb.transcript.listening import NO_SOUND
from dgnb.values import number
from dgnb.widgets.captions import SCRIPT, STYLE, watch
from dgnb.writing import shown

if TYPE_CHECKING:
    import pandas as pd

_MOST: Final = 25_000_000  # bytes of a page: notebooks with larger outputs are slow to open
_PER_SECOND: Final = 32_000 / 8 * 4 / 3  # bytes of sound in it: 32 kbit/s as base64
_PIECE, _BEFORE = 300, 10  # seconds of sound that the kernel sends at a time, and of them before what was asked for
_NEWEST: Final = 50  # words that are sent again while a session runs: their punctuation may have come late

_DRAWING, _LOOKS, _PAGE = (
    Path(__file__).with_suffix(kind).read_text(encoding="utf-8") for kind in (".js", ".css", ".html")
)


def embedded(audio: Sound, start: float, end: float | None, until: float) -> dict[str, Any]:
    """Sound as a page holds it. `until` is where it ends in seconds, if `end` is None."""
    seconds = (end or until) - start
    data, mime = audio.encoded(start, end) if seconds * _PER_SECOND < _MOST else (bytes(_MOST), "")
    if len(data) * 4 / 3 > _MOST:
        raise ConfigurationError(
            f"A page with {clock(seconds)} of sound has more than 25 MB. Show a part with start= and end=, or put "
            "the sound into a file beside the page or on a server, and give its address as audio_url=."
        )
    return {"start": start, "mime": mime, "base64": base64.b64encode(data).decode()}


def page(frame: str, script: str, style: str, title: str, data: dict[str, Any]) -> str:
    """A page that draws `data`, for a frame of this name, or "" for one that stands alone."""
    return _PAGE.format(
        kind="dgnb-framed" if frame else "dgnb-alone",
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        title=escaped(title),
        style=style,
        data=json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"),  # no text ends the element
        script=script,
    )


def framed(page: str, title: str, height: str, text: str) -> dict[str, str]:
    """A page as the value of a cell. `text` stands where frames are removed: in a notebook that is not trusted."""
    lines = "<br>".join(map(escaped, text.split("\n")))
    return bundle(
        f'<iframe title="{title}" allow="autoplay; clipboard-write" '
        f'style="display:block;width:100%;border:0;height:{html.escape(height)}" '
        f'srcdoc="{html.escape(page)}">{lines}</iframe>',
        text or "There are no words here.",
    )


class Player(AnyWidget):
    """What `Transcript.player` gives: words under a sound bar. Click a word to hear it.

    As the value of a cell it is a page in a frame: it needs no kernel and no network in saved notebooks and exported
    HTML. While its kernel runs, words of a session appear, speakers can be named, and `selected` is filled. Where a
    front end keeps frames from the kernel, `ipywidgets.VBox([player])` shows it as a widget.

    Keys: Space plays and pauses, ← and → go 5 s, comma and full stop go a word, Shift with ← or → selects words.
    """

    _esm = f"{SCRIPT}\n{_DRAWING}"
    _css = f"{STYLE}\n{_LOOKS}"
    _ipython_display_ = None  # ipywidgets 7 would show the widget instead of the page
    opened = traitlets.Dict().tag(sync=True)
    newest = traitlets.Dict().tag(sync=True)

    def __init__(
        self,
        transcript: Transcript,
        start: float | None,
        end: float | None,
        *,
        audio_url: str | None = None,
        height: str = "32em",
        place: tuple[float, float | None] | None = None,
    ) -> None:
        if not isinstance(height, str):
            raise ConfigurationError(f"height is a CSS height such as '32em', not {height!r}.")
        first = number("start is a time in seconds", 0 if start is None else start, 0)
        last = None if end is None else number("end is a time in seconds after start", end, first)
        self._transcript, self._span = transcript, (first, last)
        self._sound: dict[str, Any] | None = None if audio_url is None else {"url": str(audio_url)}
        if audio_url is None and transcript.audio is None:
            raise ConfigurationError(NO_SOUND)
        super().__init__(opened={"at": place, "sound": self._sound, "height": height, "frame": uuid.uuid4().hex})
        self._positions: list[int] = []
        self._loop = self._watching = None
        with contextlib.suppress(RuntimeError):
            self._loop = asyncio.get_running_loop()
        self.on_msg(self._hear)
        running = [s for s in sessions() if s.transcript is transcript and s.state is not State.CLOSED]
        if running and self._loop:
            self._watching = self._loop.create_task(watch(running[0], self._draw), name="dgnb: player")
        else:
            self._embed()

    def _repr_mimebundle_(self, **_: Any) -> Any:
        # Not as a widget: where there is one, JupyterLab and nbconvert show no HTML, also when its kernel has gone.
        if self._sound is None and self._watching and self._watching.done():
            self._embed()
        turns = self._words()["turns"]
        text = [
            f"{clock(words[0][1])} {who and f'{who}: '}{''.join(word[3] for word in words).strip()}"
            for _, speaker, _, words in turns
            for who in [printable(self._transcript.voice(speaker, "speaker"))]
        ]
        made = self._page(self.opened["frame"])
        return framed(made, "Transcript with sound", self.opened["height"], "\n".join(text))

    @property
    def selected(self) -> pd.DataFrame:
        """The rows of `Transcript.words` that are selected in the player."""
        words = self._transcript.words
        return words[words.index.isin(self._positions)]

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write a page that needs no kernel and no network. `talk.html#t=12.3,15` plays from 12.3 s to 15 s."""
        self._embed()
        files.write(path, self._page(""))

    def _embed(self) -> None:
        """Take the sound into the page, if it has no address."""
        (start, end), audio = self._span, self._transcript.audio
        if not self.opened["sound"] and audio:
            self._sound = embedded(audio, start, end, self._transcript.transcript_cursor)

    def _page(self, frame: str) -> str:
        data = {**self.opened, "sound": self._sound, "frame": frame, **self._words()}
        name = getattr(self._transcript.audio, "name", "Transcript")
        return page(frame, f"{self._esm}\npage();\n", self._css, name, data)

    def _words(self, since: int = 0) -> dict[str, Any]:
        """What is drawn: the words from a position on, by utterance, and the names of the speakers."""
        (start, end), turns = self._span, []
        for line in self._transcript.lines(self._transcript.word_count - since):
            words = [
                [n, round(word.start, 3), round(word.end, 3), printable(shown(word)), word.confidence]
                for n, word in line.words.items()
                if word.end > start and (end is None or word.start < end)
            ]
            if words:
                turns.append([line.utterance, line.first.speaker, line.channel, words])
        names = {str(speaker): printable(name) for speaker, name in self._transcript.speakers.items()}
        return {"turns": turns, "names": names, "interim": printable(self._transcript.interim)}

    def _draw(self) -> None:
        self.newest = self._words(max(0, self._transcript.word_count - _NEWEST))

    def _hear(self, _: object, message: dict[str, Any], __: object) -> None:
        if self._loop:  # some kernels call this in another thread
            asyncio.run_coroutine_threadsafe(self._answer(message), self._loop)

    async def _answer(self, message: dict[str, Any]) -> None:
        """Do what the page asks for."""
        transcript = self._transcript
        try:
            match message:
                case {"do": "hello", "have": int(have)}:
                    self.send({"do": "words", "linked": True, **self._words(max(0, have))})
                case {"do": "selected", "positions": [*positions]}:
                    self._positions = [n for n in positions if n in range(transcript.word_count)]
                case {"do": "rename", "speaker": int(speaker), "name": str(name)}:
                    wanted = {**transcript.speakers, speaker: name}
                    transcript.speakers = {n: called for n, called in wanted.items() if called}
                    self._draw()
                case {"do": "sound", "at": int(at) | float(at)} if transcript.audio:
                    start = max(0, at - _BEFORE)
                    data, mime = await asyncio.to_thread(transcript.audio.encoded, start, start + _PIECE)
                    self.send({"do": "sound", "start": start, "end": start + _PIECE, "mime": mime}, [data])
        except DgnbError as error:
            self.send({"do": "refused", "text": str(error)})
