"""Captions: timed words to SRT and WebVTT. Pure functions, no I/O.

Words come in utterances; a caption never spans two of them. Within an utterance, a caption ends at a pause. A full
caption ends at the end of a sentence, a clause or a breath, if one is near. The lines of a caption are about equally
long. Times are whole milliseconds.

Captions are ordered by start. Two captions of one channel never overlap: the earlier one ends where the later one
starts, after three frames at the earliest. Captions of different channels overlap where people speak at once; players
stack them.
"""

from __future__ import annotations

import html
import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from dgnb.messages import Word
from dgnb.values import number, whole
from dgnb.writing import breakable, is_spaced, one_line, spread, width

__all__ = ["Cue", "Utterance", "cues", "milliseconds", "plain", "to_srt", "to_webvtt", "voices"]

Utterance = tuple[Sequence[Word], int]
"""The words of an utterance, in order of time, and their channel."""

Names = Mapping[Any, str]
"""The names of speakers by their number."""
NOBODY: Final[Names] = MappingProxyType({})

_PAUSE: Final = 800  # Milliseconds of silence that end a caption
_FRAMES: Final = 125  # Milliseconds of three frames of a film: the eye misses what is shorter

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


def voices(
    utterances: Sequence[Utterance], speakers: bool | None = None, names: Names = NOBODY
) -> Callable[[int, int | None], str]:
    """A function that names who speaks in a channel: "Speaker 0", "Channel 1", "Channel 1, Speaker 0", or ""."""
    channels = {channel for words, channel in utterances if words}
    known = {word.speaker for words, _ in utterances for word in words} - {None}
    by_channel = speakers is not False and len(channels) > 1
    by_speaker = speakers or (speakers is None and (len(known) > 1 or not known.isdisjoint(names)))

    def name(channel: int, speaker: int | None) -> str:
        parts = [f"Channel {channel}"] if by_channel else []
        if by_speaker and speaker is not None:
            parts.append(names.get(speaker, f"Speaker {speaker}"))
        return ", ".join(parts)

    return name


class _Piece(NamedTuple):
    """Text that stays on one line, usually a word; times in milliseconds."""

    text: str
    start: int
    end: int
    gap: int  # Columns of the space before it: 1 or 0
    width: int


@dataclass(slots=True)
class _Draft:
    """A caption before its lines are known; times in milliseconds, the label in columns."""

    start: int
    end: int
    channel: int
    voice: str
    label: int
    pieces: list[_Piece]


def cues(
    utterances: Sequence[Utterance],
    max_chars: int = 42,
    max_lines: int = 2,
    max_duration: float = 7.0,
    speakers: bool | None = None,
    names: Names = NOBODY,
) -> list[Cue]:
    """Cut utterances into captions, ordered by start, with the limits of `Transcript.to_srt`."""
    max_chars = whole("max_chars must be a whole number of 1 or more", max_chars)
    max_lines = whole("max_lines must be a whole number of 1 or more", max_lines)
    least = _FRAMES / 1000
    longest = milliseconds(number(f"max_duration must be a number of at least {least}", max_duration, least, 1e9))
    name = voices(utterances, speakers, names)
    drafts = []
    for words, channel in utterances:
        for speaker, spoken in itertools.groupby(words, key=attrgetter("speaker")):
            voice = name(channel, speaker)
            label = width(f"{voice}: ") if voice else 0
            for run in _runs(spoken):
                while run:
                    last = _reach(run, label, max_chars, max_lines, longest)
                    taken, run = run[:last], run[last:]
                    start, end = min(piece.start for piece in taken), max(piece.end for piece in taken)
                    drafts.append(_Draft(start, end, channel, voice, label, taken))
    _place(drafts, longest)
    found, before = [], ""
    for draft in drafts:
        turn = draft.voice != before
        lines = _lines(draft.pieces, draft.label if turn else 0, max_chars)
        found.append(Cue(draft.start / 1000, draft.end / 1000, lines, draft.voice, turn))
        before = draft.voice
    return found


def to_srt(captions: Iterable[Cue]) -> str:
    """Captions as SubRip text; empty when there are none. A label such as `Speaker 0: ` marks a new voice."""
    blocks = []
    for count, cue in enumerate(captions, 1):
        label = f"{cue.voice}: ".replace("-->", "→") if cue.voice and cue.turn else ""
        text = _MARKUP.sub("\\g<0>\u2060", label + "\n".join(cue.lines))
        blocks.append(f"{count}\n{_span(cue, ',')}\n{text}\n")
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
    return one_line(word.punctuated_word or word.word)


def _runs(words: Iterable[Word]) -> Iterator[list[_Piece]]:
    """The words between two pauses, as pieces."""
    run: list[_Piece] = []
    before = 0
    for word in words:
        text = plain(word)
        if not text:
            continue
        start = milliseconds(word.start)
        end = max(start, milliseconds(word.end))
        if "-->" in text:
            # Players read it as structure.
            text = text.replace("-->", "→")
        gap = int(is_spaced(word))
        if run and not gap and not breakable(run[-1].text, text):
            last = run[-1]
            run[-1] = _Piece(last.text + text, last.start, max(last.end, end), last.gap, last.width + width(text))
            before = end
            continue
        if run and start - before >= _PAUSE:
            yield run
            run = []
        before = end
        # A longer word of a script without spaces may be divided between lines.
        if " " not in text and (text.isascii() or len(text) <= 4):
            run.append(_Piece(text, start, end, gap, max(1, width(text))))
            continue
        # A number or an address may be several words in one; each gets its share of the time.
        for part in spread(text, start / 1000, end / 1000, bool(gap)):
            times = milliseconds(part.start), milliseconds(part.end)
            run.append(_Piece(plain(part), *times, int(part.spaced), max(1, width(plain(part)))))
    if run:
        yield run


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, at least 0."""
    return max(0, round(seconds * 1000))


def _reach(run: list[_Piece], label: int, max_chars: int, max_lines: int, longest: int) -> int:
    """How many pieces the first caption of a run has, at least one."""
    start, end = run[0].start, run[0].end
    lines, filled = 1, label + run[0].width
    for index, piece in enumerate(run[1:], 1):
        start, end = min(start, piece.start), max(end, piece.end)
        if filled + piece.gap + piece.width <= max_chars:
            filled += piece.gap + piece.width
        else:
            lines, filled = lines + 1, piece.width
        if lines > max_lines or end - start > longest:
            return _break(run, index)
    return len(run)


def _break(run: list[_Piece], last: int) -> int:
    """The best end of a caption that may reach `last`: near it, after a sentence, a clause or a breath."""
    lengths = list(itertools.accumulate(piece.width + piece.gap for piece in run[:last]))
    best, place = 0.0, last
    for index, length in enumerate(lengths, 1):
        share = length / lengths[-1]
        pause = max(0, run[index].start - run[index - 1].end)
        worth = share + _closes(run[index - 1].text) + pause / _PAUSE
        if share >= 0.4 and worth >= best:
            best, place = worth, index
    return place


def _closes(text: str) -> float:
    """1 for the end of a sentence, 0.5 for the end of a clause, else 0."""
    text = text.rstrip(_QUOTES)
    return 1.0 if text.endswith(_SENTENCE) else 0.5 if text.endswith(_CLAUSE) else 0.0


def _lines(pieces: list[_Piece], label: int, chars: int) -> tuple[str, ...]:
    """The fewest lines, about equally long, that end with a clause if possible; the first has room for a label."""
    # The best way to divide the first pieces, for each number of them: how many lines, their cost, where they end.
    best: list[tuple[int, float, tuple[int, ...]]] = [(0, 0.0, (0,))]
    for last in range(1, len(pieces) + 1):
        bonus = 72 * _closes(pieces[last - 1].text) ** 2 if last < len(pieces) else 0.0
        ways: list[tuple[int, float, tuple[int, ...]]] = []
        filled = 0
        for first in range(last - 1, -1, -1):
            filled += pieces[first].width + (0 if first else label)
            if ways and filled > chars:
                break
            lines, cost, ends = best[first]
            ways.append((lines + 1, cost + filled**2 - bonus, (*ends, last)))
            filled += pieces[first].gap
        best.append(min(ways))
    divided = [pieces[first:last] for first, last in itertools.pairwise(best[-1][2])]
    return tuple("".join(f"{' ' * piece.gap}{piece.text}" for piece in line)[line[0].gap :] for line in divided)


def _place(drafts: list[_Draft], longest: int) -> None:
    """Order captions by start, and decide when each appears and disappears; see the top of this module."""
    by_start = attrgetter("start")
    drafts.sort(key=by_start)
    starts: dict[int, int] = {}
    for draft in drafts:
        draft.start = max(draft.start, starts.get(draft.channel, -_FRAMES) + _FRAMES)
        starts[draft.channel] = draft.start
    drafts.sort(key=by_start)
    next_start, next_own = math.inf, dict[int, int]()
    for draft in reversed(drafts):
        start = draft.start
        chars = sum(piece.width + piece.gap for piece in draft.pieces) - draft.pieces[0].gap + draft.label
        # Where nobody speaks after it, it stays for 0.8 s or more, and for 1 s for each 20 columns.
        wanted = start + max(800, 50 * chars)
        end = max(draft.end, start + _FRAMES, min(wanted, next_start))
        draft.end = int(min(end, start + longest, next_own.get(draft.channel, end)))
        next_own[draft.channel] = next_start = start


def _span(cue: Cue, mark: str) -> str:
    start = milliseconds(cue.start)
    # Players drop captions without length.
    end = max(start + 1, milliseconds(cue.end))
    return f"{_clock(start, mark)} --> {_clock(end, mark)}"


def _clock(total: int, mark: str) -> str:
    minutes, milliseconds = divmod(total, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{mark}{milliseconds % 1000:03}"
