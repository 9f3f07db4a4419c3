"""Captions: timed words to SRT and WebVTT. Pure functions, no I/O.

Words come in utterances, because a caption never spans two of them. Within one, a caption ends at a pause, and where
it is full: then at the end of a sentence, a clause or a breath, if one is near. Its lines are about as long as each
other. Times are whole milliseconds.

Captions are in order of their starts. Two of one channel never overlap, unless they start together: the earlier one
ends where the later one starts. Those of several channels overlap where people speak at once, and players stack them.
"""

from __future__ import annotations

import html
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, NamedTuple

from dgnb.exceptions import ConfigurationError
from dgnb.messages import Word

__all__ = ["Cue", "Utterance", "Voices", "cues", "plain", "to_srt", "to_webvtt"]

Utterance = tuple[Sequence[Word], int]
"""The words of an utterance, in order of time, and their channel."""

_PAUSE: Final = 800
"""Milliseconds without words that end a caption."""

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
_SENTENCE: Final = tuple(".?!…。？！؟۔।")
_CLAUSE: Final = tuple(",;:—–،؛、，；：")
_QUOTES: Final = "\"'”’»)]"
# What players of SRT take for markup; a word joiner, which is not seen, keeps them from it.
_MARKUP = re.compile(r"<(?=[/A-Za-z])|\{(?=\\)")


@dataclass(frozen=True, slots=True)
class Cue:
    """One caption: `lines` are on screen from `start` to `end`, in seconds. A line is plain text without breaks.

    `voice` is who speaks, such as "Speaker 0", or "" where that is not to be told; `turn` is whether the caption
    before was someone else's.
    """

    start: float
    end: float
    lines: tuple[str, ...]
    voice: str = ""
    turn: bool = True


class Voices:
    """What to call who speaks: "Speaker 0", "Channel 1", "Channel 1, Speaker 0", or "".

    Channels are named where there are several, speakers as well.

    Args:
        utterances: All that is to be told apart.
        speakers: True: name speakers even when there is but one. False: name nobody, and no channel.
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
        """The name of one of them."""
        names = [f"Channel {channel}"] if self._channels else []
        if self._speakers and speaker is not None:
            names.append(f"Speaker {speaker}")
        return ", ".join(names)


class _Piece(NamedTuple):
    """What has no space in it: a word, as a rule. Milliseconds."""

    text: str
    start: int
    end: int


class _Draft(NamedTuple):
    start: int
    end: int
    channel: int
    voice: str
    texts: list[str]


class _Limits(NamedTuple):
    chars: int
    lines: int
    longest: int
    shortest: int
    speed: float
    """Characters a second; times in milliseconds."""


def cues(
    utterances: Sequence[Utterance],
    *,
    max_chars: int = 42,
    max_lines: int = 2,
    max_duration: float = 7.0,
    min_duration: float = 0.8,
    max_chars_per_second: float = 20.0,
    speakers: bool | None = None,
) -> list[Cue]:
    """Cut utterances into captions, in order of their starts.

    Args:
        utterances: The words of each, with its channel.
        max_chars: Characters a line, a speaker's label included; a longer word stands alone.
        max_lines: Lines a caption.
        max_duration: Seconds a caption.
        min_duration: Seconds a caption stays at least, where nobody speaks after it.
        max_chars_per_second: How fast people read: a caption that asks for more stays longer, where nobody speaks
            after it. Nothing is left out where somebody does. `math.inf` for readers of any speed.
        speakers: Whether to tell who speaks: None when there are several speakers or channels, see `Voices`.

    Raises:
        ConfigurationError: A limit that nothing can keep.
    """
    limits = _limits(max_chars, max_lines, max_duration, min_duration, max_chars_per_second)
    voices = Voices(utterances, speakers)
    drafts = []
    for words, channel in utterances:
        for speaker, spoken in itertools.groupby(words, key=attrgetter("speaker")):
            voice = voices.name(channel, speaker)
            for run in _runs(spoken):
                for taken in _filled(run, _label_width(voice), limits):
                    start, end = min(piece.start for piece in taken), max(piece.end for piece in taken)
                    drafts.append(_Draft(start, end, channel, voice, [piece.text for piece in taken]))
    drafts.sort(key=lambda draft: draft.start)
    found, before = [], ""
    for draft, end in zip(drafts, _ends(drafts, limits), strict=True):
        turn = draft.voice != before
        lines = _lines(draft.texts, _label_width(draft.voice) if turn else 0, limits.chars)
        found.append(Cue(draft.start / 1000, end / 1000, lines, draft.voice, turn))
        before = draft.voice
    return found


def to_srt(captions: Iterable[Cue]) -> str:
    """Captions as SubRip text; empty when there are none. `Speaker 0: ` stands where the voice changes.

    Example:
        ```python
        >>> to_srt([Cue(0.0, 1.5, ("Hello.",))])
        '1\\n00:00:00,000 --> 00:00:01,500\\nHello.\\n'
        ```
    """
    blocks = []
    for number, cue in enumerate(captions, 1):
        text = _MARKUP.sub("\\g<0>\u2060", "\n".join(cue.lines))
        label = f"{cue.voice}: " if cue.voice and cue.turn else ""
        blocks.append(f"{number}\n{_span(cue, ',')}\n{label}{text}\n")
    return "\n".join(blocks)


def to_webvtt(captions: Iterable[Cue]) -> str:
    """Captions as WebVTT text, with a voice tag where there is a voice; a header alone when there are none."""
    blocks = ["WEBVTT\n"]
    for cue in captions:
        text = html.escape("\n".join(cue.lines), quote=False)
        tag = f"<v {html.escape(cue.voice, quote=False)}>" if cue.voice else ""
        blocks.append(f"{_span(cue, '.')}\n{tag}{text}\n")
    return "\n".join(blocks)


def plain(word: Word) -> str:
    """The word as displayed, on one line and without control characters; it may be empty."""
    text = word.punctuated_word or word.word
    # Nearly every word: looked at once.
    return text if text.isprintable() and " " not in text else " ".join(_CONTROLS.sub(" ", text).split())


def _limits(chars: int, lines: int, longest: float, shortest: float, speed: float) -> _Limits:
    for name, count in (("max_chars", chars), ("max_lines", lines)):
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ConfigurationError(f"{name} is a whole number from 1 on, which {count!r} is not.")
    for name, value, least, most in (
        ("max_duration", longest, 0.001, 1e9),
        ("min_duration", shortest, 0.0, longest),
        ("max_chars_per_second", speed, 0.001, math.inf),
    ):
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            raise ConfigurationError(f"{name} is a number from {least} to {most}, which {value!r} is not.")
    return _Limits(chars, lines, round(longest * 1000), round(shortest * 1000), speed)


def _label_width(voice: str) -> int:
    return len(voice) + 2 if voice else 0


def _runs(words: Iterable[Word]) -> Iterator[list[_Piece]]:
    """The words between two pauses, in pieces."""
    run: list[_Piece] = []
    before = 0
    for word in words:
        text = plain(word)
        if not text:
            continue
        start = _milliseconds(word.start, before)
        end = _milliseconds(word.end, start)
        if end < start:
            end = start
        if run and start - before >= _PAUSE:
            yield run
            run = []
        before = end
        if "-->" in text:
            # It would be taken for structure.
            text = text.replace("-->", "→")
        if " " not in text:
            run.append(_Piece(text, start, end))
            continue
        # Numbers and addresses may be several words in one: each has its share of the time.
        texts = text.split(" ")
        bounds = [start + (end - start) * n // len(texts) for n in range(len(texts) + 1)]
        run += map(_Piece, texts, bounds, bounds[1:])
    if run:
        yield run


def _milliseconds(seconds: float, otherwise: int) -> int:
    """Whole milliseconds from 0 on; something else for what is no time."""
    try:
        whole = round(seconds * 1000)
    except (ValueError, OverflowError):
        return otherwise
    return whole if whole > 0 else 0


def _filled(run: list[_Piece], label: int, limits: _Limits) -> Iterator[list[_Piece]]:
    first = 0
    while first < len(run):
        last = _reach(run, first, label, limits)
        if last < len(run):
            last = _break(run, first, last)
        yield run[first:last]
        first = last


def _reach(run: list[_Piece], first: int, label: int, limits: _Limits) -> int:
    """Where a caption that begins with the piece `first` ends at the latest; it has that piece at least."""
    _, start, end = run[first]
    lines, width = 1, label + len(run[first].text)
    for index in range(first + 1, len(run)):
        text, begins, ends = run[index]
        start, end = min(start, begins), max(end, ends)
        if width + 1 + len(text) <= limits.chars:
            width += 1 + len(text)
        else:
            lines, width = lines + 1, len(text)
        if lines > limits.lines or end - start > limits.longest:
            return index
    return len(run)


def _break(run: list[_Piece], first: int, last: int) -> int:
    """The best place to end a caption that could go up to `last`: not long before, and where one would draw breath."""
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
    """How much a piece ends: 1 a sentence, 0.5 a clause, 0 nothing."""
    text = text.rstrip(_QUOTES)
    return 1.0 if text.endswith(_SENTENCE) else 0.5 if text.endswith(_CLAUSE) else 0.0


def _lines(texts: list[str], label: int, chars: int) -> tuple[str, ...]:
    """As few lines as will do, about as long as each other; a label takes its room from the first."""
    widths = [len(text) for text in texts]
    widths[0] += label
    rest = sum(widths) + len(widths) - 1
    if rest <= chars:
        return (" ".join(texts),)
    # How many lines the pieces from each one on need.
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


def _ends(drafts: list[_Draft], limits: _Limits) -> list[int]:
    """When each caption goes, in milliseconds: see `cues` and the head of this page."""
    ends: list[int] = []
    next_start = math.inf
    # By channel: when its next caption starts, and when the next one after that start.
    next_own: dict[int, tuple[int, float]] = {}
    for draft in reversed(drafts):
        start = draft.start
        chars = sum(map(len, draft.texts)) + len(draft.texts) - 1 + _label_width(draft.voice)
        wanted = start + max(limits.shortest, math.ceil(chars * 1000 / limits.speed))
        end = max(draft.end, start + 1, min(wanted, next_start))
        then, later = next_own.get(draft.channel, (start, math.inf))
        bound = then if then > start else later
        ends.append(int(min(end, start + limits.longest, bound)))
        next_own[draft.channel] = (start, bound)
        next_start = start
    return ends[::-1]


def _span(cue: Cue, mark: str) -> str:
    start = max(0, round(cue.start * 1000))
    # A millisecond at least: players drop captions that end where they start.
    end = max(start + 1, round(cue.end * 1000))
    return f"{_clock(start, mark)} --> {_clock(end, mark)}"


def _clock(total: int, mark: str) -> str:
    minutes, milliseconds = divmod(total, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{mark}{milliseconds % 1000:03}"
