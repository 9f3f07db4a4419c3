"""Captions: timed words to SRT and WebVTT. Pure functions, no I/O.

Words come in utterances, because a caption never spans two of them. Within one, a caption breaks where it is full,
after a sentence, and at a pause.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dgnb.messages import Word

__all__ = ["Cue", "cues", "to_srt", "to_webvtt"]

_PAUSE = 0.8
"""Seconds without words that end a caption."""


@dataclass(frozen=True, slots=True)
class Cue:
    """One caption: `lines` are on screen from `start` to `end`, in seconds. A line is plain text without breaks."""

    start: float
    end: float
    lines: tuple[str, ...]
    speaker: int | None = None


def cues(
    utterances: Iterable[Sequence[Word]], *, max_chars: int = 42, max_lines: int = 2, max_duration: float = 7.0
) -> list[Cue]:
    """Cut utterances into captions.

    Args:
        utterances: The words of each utterance, in order of time.
        max_chars: Characters a line; a longer word stands alone.
        max_lines: Lines a caption.
        max_duration: Seconds a caption.
    """
    found: list[Cue] = []
    for utterance in utterances:
        taken: list[Word] = []
        for word in utterance:
            if not _shown(word):
                continue
            if taken and _is_full(taken, word, max_chars, max_lines, max_duration):
                found.append(_cue(taken, max_chars))
                taken = []
            taken.append(word)
        if taken:
            found.append(_cue(taken, max_chars))
    found.sort(key=lambda cue: cue.start)
    return found


def to_srt(captions: Iterable[Cue]) -> str:
    """Captions as SubRip text; empty when there are none.

    Example:
        ```python
        >>> to_srt([Cue(0.0, 1.5, ("Hello.",))])
        '1\\n00:00:00,000 --> 00:00:01,500\\nHello.\\n'
        ```
    """
    blocks = (f"{number}\n{_span(cue, ',')}\n" + "\n".join(cue.lines) + "\n" for number, cue in enumerate(captions, 1))
    return "\n".join(blocks)


def to_webvtt(captions: Iterable[Cue]) -> str:
    """Captions as WebVTT text, with a voice tag where the speaker is known; a header alone when there are none."""
    blocks = ["WEBVTT\n"]
    for cue in captions:
        lines = [html.escape(line, quote=False) for line in cue.lines]
        if cue.speaker is not None:
            lines[0] = f"<v Speaker {cue.speaker}>{lines[0]}"
        blocks.append(f"{_span(cue, '.')}\n" + "\n".join(lines) + "\n")
    return "\n".join(blocks)


def _shown(word: Word) -> str:
    """The word as text that can't be taken for structure: one line, and no arrow."""
    return " ".join((word.punctuated_word or word.word).replace("\0", " ").split()).replace("-->", "→")


def _is_full(taken: list[Word], word: Word, max_chars: int, max_lines: int, max_duration: float) -> bool:
    last = taken[-1]
    sentence_ended = _shown(last).endswith((".", "?", "!", "…"))
    return (
        (sentence_ended and len(_wrap(taken, max_chars)) >= max_lines)
        or word.start - last.end >= _PAUSE
        or word.end - taken[0].start > max_duration
        or word.speaker != last.speaker
        or len(_wrap([*taken, word], max_chars)) > max_lines
    )


def _wrap(words: Sequence[Word], max_chars: int) -> list[str]:
    lines: list[str] = []
    for word in words:
        text = _shown(word)
        if lines and len(lines[-1]) + 1 + len(text) <= max_chars:
            lines[-1] += f" {text}"
        else:
            lines.append(text)
    return lines


def _cue(words: Sequence[Word], max_chars: int) -> Cue:
    start = min(word.start for word in words)
    return Cue(start, max(word.end for word in words), tuple(_wrap(words, max_chars)), words[0].speaker)


def _span(cue: Cue, mark: str) -> str:
    start = max(0, round(cue.start * 1000))
    # A millisecond at least: players drop captions that end where they start.
    end = max(start + 1, round(cue.end * 1000))
    return f"{_clock(start, mark)} --> {_clock(end, mark)}"


def _clock(total: int, mark: str) -> str:
    minutes, milliseconds = divmod(total, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{milliseconds // 1000:02}{mark}{milliseconds % 1000:03}"
