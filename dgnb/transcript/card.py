"""`card()`: a transcript as HTML, at a cost that does not grow with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from dgnb.messages import Results
from dgnb.notices import FAINT, clock, escaped, grid, quiet
from dgnb.transcript.log import MessageLog
from dgnb.transcript.records import Event, Line
from dgnb.transcript.words import WordLog

_ENDS: Final = 2
"""Lines of speech from the beginning, and as many from the end."""
_WORDS: Final = 60
"""Words in which to look for them."""
_NEWEST: Final = 200
"""Messages in which to look for the model."""
_WIDTH: Final = 160
"""Characters of a line."""
_OPENED: Final = re.compile(r"(?:again at \S+ s, )?(.*?) \(")

_NEXT: Final = (
    ("<code>.words</code>", "", "one row for each word, with times and confidence"),
    ('<code>.find("…")</code>', "", "where a phrase was said"),
    ('<code>.to_srt("talk.srt")</code>', "", "captions; also .to_webvtt(), .to_csv(), .to_excel()"),
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


def card(
    log: MessageLog, words: WordLog, events: list[Event], gaps: int, seconds: float, latency: float | None, interim: str
) -> str:
    """Figures, who answered, the first and the last lines, and what to do next. Times are in seconds."""
    figures = [
        (f"{len(words):,}", "words"),
        (f"{seconds:.1f} s" if seconds < 60 else clock(seconds), "of audio"),
        (f"{len(words.speakers)}", "speakers" if words.speakers else ""),
        ("" if latency is None else f"{latency:.1f} s", "latency" if latency is not None else ""),
        (f"{gaps}", "gaps" if gaps else ""),
    ]
    shown = (f"<b>{figure}</b> {name.removesuffix('s') if figure == '1' else name}" for figure, name in figures if name)
    head = f'{" · ".join(shown)}<br><span style="{FAINT}">{escaped(_answered(log, events))}</span>'
    said = list(_rows(words, interim))
    if not said:
        return quiet(f"{head}<div>{_SILENT}</div>" if len(log) or events else _NOTHING)
    more = "<code>.words</code> · <code>.find()</code> · <code>.to_srt()</code>"
    more = f'<details><summary style="cursor:pointer">next: {more}</summary>{grid(_NEXT)}</details>'
    return quiet(f"{head}{grid(said)}{more}")


def _answered(log: MessageLog, events: list[Event]) -> str:
    """The endpoint and the model, as far as they are known."""
    opened = next((event.text for event in reversed(events) if event.type == "opened"), "")
    endpoint = _OPENED.match(opened)
    for record in reversed(list(log.records(max(0, len(log) - _NEWEST)))):
        told = record.message.metadata if isinstance(record.message, Results) else None
        if told and told.model_info:
            model = told.model_info.name or told.model_info.arch
            break
    else:
        model = None
    return " · ".join(filter(None, (endpoint and endpoint[1], model)))


def _rows(words: WordLog, interim: str) -> Iterator[tuple[str, str, str]]:
    first = words.lines(2 * _WORDS)
    last, more = first[_ENDS:], len(first) > 2 * _ENDS
    if len(words) > 2 * _WORDS:
        first, last, more = words.lines(_WORDS, first=True), words.lines(_WORDS), True
    for line in first[:_ENDS]:
        yield _row(line, line.text if len(line.text) <= _WIDTH else f"{line.text[:_WIDTH]}…")
    if more:
        yield "⋮", "", ""
    for line in last[-_ENDS:]:
        yield _row(line, line.text if len(line.text) <= _WIDTH else f"…{line.text[-_WIDTH:]}")
    if interim:
        yield "", "", f"<i>{escaped(interim[-_WIDTH:])}</i>"


def _row(line: Line, text: str) -> tuple[str, str, str]:
    return clock(line.start), "" if line.speaker is None else f"Speaker {line.speaker}", escaped(text)
