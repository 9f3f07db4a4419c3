"""Captions: timed words to SRT and WebVTT. Pure functions, no I/O.

Words come in utterances; a caption never spans two of them. Within an utterance, a caption ends at a pause. A full
caption ends at the end of a sentence, a clause or a breath, if one is near. The lines of a caption are about equally
long. Times are whole milliseconds.

Captions are ordered by start. Two captions of one channel never overlap, unless they start together: the earlier one
ends where the later one starts. Captions of different channels overlap where people speak at once; players stack them.
"""

from __future__ import annotations

import html
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final, NamedTuple

from dgnb.messages import Word
from dgnb.values import number, whole

__all__ = ["CaptionLimits", "Cue", "Utterance", "Voices", "cues", "milliseconds", "plain", "to_srt", "to_webvtt"]

Utterance = tuple[Sequence[Word], int]
"""The words of an utterance, in order of time, and their channel."""

_PAUSE: Final = 800
"""Milliseconds of silence that end a caption."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_SENTENCE: Final = tuple(".?!…。？！؟۔।")
_CLAUSE: Final = tuple(",;:—–،؛、，；：")
_QUOTES: Final = "\"'”’»)]"
# SRT players read these as markup; an invisible word joiner prevents it.
_MARKUP = re.compile(r"<(?=[/A-Za-z])|\{(?=\\)")


@dataclass(frozen=True, slots=True)
class Cue:
    """One caption: `lines` are on screen from `start` to `end`, in seconds. A line is plain text without breaks.

    `voice` names who speaks, such as "Speaker 0", or is ""; `turn` is True where it differs from the caption before.
    """

    start: float
    end: float
    lines: tuple[str, ...]
    voice: str = ""
    turn: bool = True


class Voices:
    """The names of speakers: "Speaker 0", "Channel 1", "Channel 1, Speaker 0", or "".

    Channels are named where there are several, and so are speakers.

    Args:
        utterances: All words.
        speakers: True: name a single speaker too. False: name neither speakers nor channels.
    """

    def __init__(self, utterances: Iterable[Utterance], speakers: bool | None = None) -> None:
        channels: set[int] = set()
        known: set[int | None] = set()
        for words, channel in utterances:
            if words:
                channels.add(channel)
                known.update(map(attrgetter("speaker"), words))
        self._channels = speakers is not False and len(channels) > 1
        self._speakers = speakers or (speakers is None and len(known - {None}) > 1)

    def name(self, channel: int, speaker: int | None) -> str:
        """The name of a speaker on a channel."""
        names = [f"Channel {channel}"] if self._channels else []
        if self._speakers and speaker is not None:
            names.append(f"Speaker {speaker}")
        return ", ".join(names)


class _Piece(NamedTuple):
    """Text without a space, usually a word; times in milliseconds."""

    text: str
    start: int
    end: int


class _Draft(NamedTuple):
    """A caption before its lines and its final end are known; times in milliseconds."""

    start: int
    end: int
    channel: int
    voice: str
    texts: list[str]


@dataclass(frozen=True)
class CaptionLimits:
    """How large a caption may be and how long it stays. Its attributes are the defaults of `Transcript.to_srt`.

    Raises:
        ConfigurationError: A limit that no caption can keep.
    """

    max_chars: int = 42
    """Characters a line, a speaker's label included; a longer word has a line of its own."""
    max_lines: int = 2
    """Lines a caption."""
    max_duration: float = 7.0
    """Seconds a caption."""
    min_duration: float = 0.8
    """Seconds that a caption stays at least, where nobody speaks after it."""
    max_chars_per_second: float = 20.0
    """Reading speed. A caption with more characters stays longer, where nobody speaks after it; no words are left out.
    `math.inf` for no limit."""

    def __post_init__(self) -> None:
        for name in ("max_chars", "max_lines"):
            count = whole(f"{name} must be a whole number of 1 or more", getattr(self, name))
            object.__setattr__(self, name, count)
        for name, least, most in (
            ("max_duration", 0.001, 1e9),
            ("min_duration", 0.0, self.max_duration),
            ("max_chars_per_second", 0.001, math.inf),
        ):
            value = number(f"{name} must be a number from {least} to {most}", getattr(self, name), least, most)
            object.__setattr__(self, name, value)


def cues(utterances: Sequence[Utterance], *, speakers: bool | None = None, **limits: Any) -> list[Cue]:
    """Cut utterances into captions, ordered by start.

    Args:
        utterances: The words of each, with its channel.
        speakers: Whether to say who speaks; None: where there are several speakers or channels, see `Voices`.
        **limits: See `CaptionLimits`.

    Raises:
        ConfigurationError: A limit that no caption can keep.
    """
    within = CaptionLimits(**limits)
    voices = Voices(utterances, speakers)
    drafts = []
    for words, channel in utterances:
        for speaker, spoken in itertools.groupby(words, key=attrgetter("speaker")):
            voice = voices.name(channel, speaker)
            for run in _runs(spoken):
                for taken in _filled(run, _label_width(voice), within):
                    start, end = min(piece.start for piece in taken), max(piece.end for piece in taken)
                    drafts.append(_Draft(start, end, channel, voice, [piece.text for piece in taken]))
    drafts.sort(key=lambda draft: draft.start)
    found, before = [], ""
    for draft, end in zip(drafts, _ends(drafts, within), strict=True):
        turn = draft.voice != before
        lines = _lines(draft.texts, _label_width(draft.voice) if turn else 0, within.max_chars)
        found.append(Cue(draft.start / 1000, end / 1000, lines, draft.voice, turn))
        before = draft.voice
    return found


def to_srt(captions: Iterable[Cue]) -> str:
    """Captions as SubRip text; empty when there are none. A label such as `Speaker 0: ` marks a new voice.

    Example:
        ```python
        >>> to_srt([Cue(0.0, 1.5, ("Hello.",))])
        '1\\n00:00:00,000 --> 00:00:01,500\\nHello.\\n'
        ```
    """
    blocks = []
    for count, cue in enumerate(captions, 1):
        text = _MARKUP.sub("\\g<0>\u2060", "\n".join(cue.lines))
        label = f"{cue.voice}: " if cue.voice and cue.turn else ""
        blocks.append(f"{count}\n{_span(cue, ',')}\n{label}{text}\n")
    return "\n".join(blocks)


def to_webvtt(captions: Iterable[Cue]) -> str:
    """Captions as WebVTT text, with voice tags; only the header when there are none."""
    blocks = ["WEBVTT\n"]
    for cue in captions:
        text = html.escape("\n".join(cue.lines), quote=False)
        tag = f"<v {html.escape(cue.voice, quote=False)}>" if cue.voice else ""
        blocks.append(f"{_span(cue, '.')}\n{tag}{text}\n")
    return "\n".join(blocks)


def plain(word: Word) -> str:
    """The word as displayed, on one line and without control characters; may be empty."""
    text = word.punctuated_word or word.word
    # Fast path for nearly every word.
    return text if text.isprintable() and " " not in text else " ".join(_CONTROLS.sub(" ", text).split())


def _label_width(voice: str) -> int:
    return len(voice) + 2 if voice else 0


def _runs(words: Iterable[Word]) -> Iterator[list[_Piece]]:
    """The words between two pauses, as pieces."""
    run: list[_Piece] = []
    before = 0
    for word in words:
        text = plain(word)
        if not text:
            continue
        start = milliseconds(word.start, before)
        end = milliseconds(word.end, start)
        if end < start:
            end = start
        if run and start - before >= _PAUSE:
            yield run
            run = []
        before = end
        if "-->" in text:
            # Players read it as structure.
            text = text.replace("-->", "→")
        if " " not in text:
            run.append(_Piece(text, start, end))
            continue
        # A number or an address may be several words in one; each gets its share of the time.
        texts = text.split(" ")
        bounds = [start + (end - start) * n // len(texts) for n in range(len(texts) + 1)]
        run += map(_Piece, texts, bounds, bounds[1:])
    if run:
        yield run


def milliseconds(seconds: float, otherwise: int = 0) -> int:
    """Whole milliseconds, at least 0; `otherwise` for NaN and infinity."""
    try:
        whole = round(seconds * 1000)
    except (ValueError, OverflowError):
        return otherwise
    return whole if whole > 0 else 0


def _filled(run: list[_Piece], label: int, limits: CaptionLimits) -> Iterator[list[_Piece]]:
    """The pieces of each caption of a run."""
    first = 0
    while first < len(run):
        last = _reach(run, first, label, limits)
        if last < len(run):
            last = _break(run, first, last)
        yield run[first:last]
        first = last


def _reach(run: list[_Piece], first: int, label: int, limits: CaptionLimits) -> int:
    """The latest end of a caption that begins with the piece `first`; it has at least that piece."""
    _, start, end = run[first]
    longest = round(limits.max_duration * 1000)
    lines, width = 1, label + len(run[first].text)
    for index in range(first + 1, len(run)):
        text, begins, ends = run[index]
        start, end = min(start, begins), max(end, ends)
        if width + 1 + len(text) <= limits.max_chars:
            width += 1 + len(text)
        else:
            lines, width = lines + 1, len(text)
        if lines > limits.max_lines or end - start > longest:
            return index
    return len(run)


def _break(run: list[_Piece], first: int, last: int) -> int:
    """The best end of a caption that may reach `last`: near it, after a sentence, a clause or a breath."""
    lengths = list(itertools.accumulate(len(piece.text) + 1 for piece in run[first:last]))
    best, place = 0.0, last
    for index, length in enumerate(lengths, first + 1):
        share = length / lengths[-1]
        if share < 0.4:
            continue
        pause = max(0, run[index].start - run[index - 1].end)
        worth = share + _closes(run[index - 1].text) + pause / _PAUSE
        if worth >= best:
            best, place = worth, index
    return place


def _closes(text: str) -> float:
    """1 for the end of a sentence, 0.5 for the end of a clause, else 0."""
    text = text.rstrip(_QUOTES)
    return 1.0 if text.endswith(_SENTENCE) else 0.5 if text.endswith(_CLAUSE) else 0.0


def _lines(texts: list[str], label: int, chars: int) -> tuple[str, ...]:
    """The fewest lines, about equally long; the first has room for a label."""
    widths = [len(text) for text in texts]
    widths[0] += label
    rest = sum(widths) + len(widths) - 1
    if rest <= chars:
        return (" ".join(texts),)
    # How many lines the pieces from each index on need.
    needs, lines, width = [0] * len(texts), 0, chars
    for index in reversed(range(len(texts))):
        if width + 1 + widths[index] <= chars:
            width += 1 + widths[index]
        else:
            lines, width = lines + 1, widths[index]
        needs[index] = lines
    made, first = [], 0
    while needs[first] > 1:
        ideal, width, best, last = rest / needs[first], -1, math.inf, first + 1
        for index in range(first, len(texts) - 1):
            width += 1 + widths[index]
            if width > chars and index > first:
                break
            cost = abs(width - ideal) - 6 * _closes(texts[index])
            if needs[index + 1] < needs[first] and cost < best:
                best, last = cost, index + 1
        made.append(" ".join(texts[first:last]))
        rest -= sum(widths[first:last]) + last - first
        first = last
    return (*made, " ".join(texts[first:]))


def _ends(drafts: list[_Draft], limits: CaptionLimits) -> list[int]:
    """When each caption disappears, in milliseconds; see the top of this module."""
    ends: list[int] = []
    next_start = math.inf
    longest, shortest = round(limits.max_duration * 1000), round(limits.min_duration * 1000)
    # For each channel, the start of its next caption, and the next later start.
    next_own: dict[int, tuple[int, float]] = {}
    for draft in reversed(drafts):
        start = draft.start
        chars = sum(map(len, draft.texts)) + len(draft.texts) - 1 + _label_width(draft.voice)
        wanted = start + max(shortest, math.ceil(chars * 1000 / limits.max_chars_per_second))
        end = max(draft.end, start + 1, min(wanted, next_start))
        then, later = next_own.get(draft.channel, (start, math.inf))
        bound = then if then > start else later
        ends.append(int(min(end, start + longest, bound)))
        next_own[draft.channel] = (start, bound)
        next_start = start
    return ends[::-1]


def _span(cue: Cue, mark: str) -> str:
    start = milliseconds(cue.start)
    # Players drop captions without length.
    end = max(start + 1, milliseconds(cue.end))
    return f"{_clock(start, mark)} --> {_clock(end, mark)}"


def _clock(total: int, mark: str) -> str:
    minutes, milliseconds = divmod(total, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{mark}{milliseconds % 1000:03}"
