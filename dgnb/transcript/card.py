"""`Card`: a transcript as a line and as HTML, at a cost that does not grow with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from dgnb.messages import Results
from dgnb.notices import FAINT, clock, escaped, grid, quiet
from dgnb.transcript.records import Line
from dgnb.transcript.reducer import Reducer

_ENDS: Final = 2  # Lines of speech from the beginning, and as many from the end
_WORDS: Final = 60  # Words in which to look for them
_NEWEST: Final = 200  # Messages in which to look for the model
_WIDTH: Final = 160  # Characters of a line
_OPENED: Final = re.compile(r"(?:again at \S+ s, )?(.*?) \(")

_NEXT: Final = (
    ("<code>.words</code>", "", "one row for each word, with times and confidence"),
    ('<code>.find("…")</code>', "", "where a phrase was said"),
    ('<code>.to_srt("talk.srt")</code>', "", "captions; also .to_webvtt(), .to_csv(), .to_excel()"),
    ("<code>.player()</code>", "", "click a word and hear it, where the sound was kept"),
    ("<code>.summary()</code>", "", "words a minute, the share of each speaker, latency, gaps"),
    ("<code>.events</code>", "", "what happened to the stream"),
)
_NOTHING: Final = (
    "No words so far. <code>await dgnb.transcribe(…)</code> gives a transcript; <code>dgnb.Transcript.load(…)</code> "
    "reads a saved one."
)
_SILENT: Final = (
    "No words so far. <code>.events</code> says what happened; <code>session.level</code> says how loud the audio is."
)


class Card(Reducer):
    """A transcript as the value of a cell."""

    def __repr__(self) -> str:
        return f"<Transcript: {len(self._words)} words in {self._heard():.1f} s>"

    def _repr_html_(self) -> str:
        """Figures, who answered, the first and the last lines, and what to do next."""
        words, seconds, latency = self._words, self._heard(), self.latency
        speakers = set(map(words.overlay.one, words.speakers))
        figures = [
            (f"{len(words):,}", "words"),
            (f"{seconds:.1f} s" if seconds < 60 else clock(seconds), "of audio"),
            (f"{len(speakers)}", "speakers" if speakers else ""),
            (f"{latency or 0:.1f} s", "latency" if latency is not None else ""),
            (f"{len(self._gaps)}", "gaps" if self._gaps else ""),
        ]
        shown = (
            f"<b>{figure}</b> {name.removesuffix('s') if figure == '1' else name}" for figure, name in figures if name
        )
        head = f'{" · ".join(shown)}<br><span style="{FAINT}">{escaped(self._answered())}</span>'
        said = list(self._said())
        if not said:
            return quiet(f"{head}<div>{_SILENT}</div>" if len(self._log) or self._notes else _NOTHING)
        more = "<code>.words</code> · <code>.find()</code> · <code>.to_srt()</code>"
        more = f'<details><summary style="cursor:pointer">next: {more}</summary>{grid(_NEXT)}</details>'
        return quiet(f"{head}{grid(said)}{more}")

    def _heard(self) -> float:
        """Seconds of audio: of a stream, up to the last final; of a recording, all of it."""
        return max([self._received if self._answer else 0.0, *self._reached.values()])

    def _answered(self) -> str:
        """The endpoint and the model, as far as they are known."""
        opened = next((event.text for event in reversed(self._notes) if event.type == "opened"), "")
        endpoint, newest = _OPENED.match(opened), self.since(max(0, self.count - _NEWEST))
        told = [message.metadata for message in newest if isinstance(message, Results) and message.metadata]
        model = next((told.model_info.name or told.model_info.arch for told in reversed(told) if told.model_info), "")
        return " · ".join(filter(None, (endpoint and endpoint[1], model)))

    def _said(self) -> Iterator[tuple[str, str, str]]:
        first = self.lines(2 * _WORDS)
        last, more = first[_ENDS:], len(first) > 2 * _ENDS
        if self.word_count > 2 * _WORDS:
            first, last, more = self._words.lines(_WORDS, first=True), self.lines(_WORDS), True
        for line in first[:_ENDS]:
            yield self._row(line, line.text if len(line.text) <= _WIDTH else f"{line.text[:_WIDTH]}…")
        if more:
            yield "⋮", "", ""
        for line in last[-_ENDS:]:
            yield self._row(line, line.text if len(line.text) <= _WIDTH else f"…{line.text[-_WIDTH:]}")
        if self.interim:
            yield "", "", f"<i>{escaped(self.interim[-_WIDTH:])}</i>"

    def _row(self, line: Line, text: str) -> tuple[str, str, str]:
        return clock(line.first.start), escaped(self.voice(line.first.speaker, "Speaker")), escaped(text)
