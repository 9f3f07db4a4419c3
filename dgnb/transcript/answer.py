"""Deepgram's answers for recordings: their words as `Results`, and the tables of what else they hold."""

from __future__ import annotations

import itertools
import json
import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
from msgspec import structs

from dgnb.exceptions import DgnbError
from dgnb.messages import Answer, Metadata, Results, ServerMessage, Warning, Word, parse
from dgnb.options import MOST_CHANNELS
from dgnb.transcript.listening import Listening

if TYPE_CHECKING:
    import pandas as pd

_ROUNDED: Final = 0.001  # s by which an utterance may begin after its first word
_BLANK: Final = "\ufeff \t\r\n"  # what may stand before JSON
_REMEDY: Final = "Pass what POST /v1/listen answered, as a path, text or dict. Transcript.load() reads session files."


class Answered(Listening):
    """What the service said beside the words."""

    @classmethod
    def from_deepgram_json(cls, answer: Any) -> Self:
        """Read what `POST /v1/listen` answered for a recording, or what `to_deepgram_json` wrote.

        Each utterance is one final; without utterances, each sentence of the paragraphs is. `received_at` is now.
        What the answer has beside the words is in `metadata`, `paragraphs`, `entities`, `topics`, `intents`,
        `sentiments` and `summary_text`; warnings of the service are rows of `events`.

        Args:
            answer: A path, the JSON as text or bytes, a dict, or a response of the official SDK.

        Raises:
            DgnbError: It can't be read, or is no answer of Deepgram with a transcript.

        Example:
            ```python
            transcript = dgnb.Transcript.from_deepgram_json("answer.json")
            transcript.to_srt("talk.srt")
            ```
        """
        transcript = cls()
        for message in messages_of(answer):
            transcript.feed(message)
        return transcript

    @property
    def metadata(self) -> dict[str, Any]:
        """What the service said of the whole: `request_id`, `duration`, `models` and more; {} before it did."""
        if self._answer:
            return dict(self._answer.metadata)
        told: Metadata | None = None
        for record in self._log.records():
            told = record.message if isinstance(record.message, Metadata) else told
        return {name: value for name, value in structs.asdict(told).items() if value is not None} if told else {}

    @property
    def summary_text(self) -> str | None:
        """The summary that `summarize` asked for, or None. `summary()` gives figures."""
        results = self._answer.results if self._answer else {}
        older = _at(results, "channels", 0, "alternatives", 0, "summaries", 0, "summary")
        found = _at(results, "summary", "short") or older
        return found if isinstance(found, str) else None

    @property
    def paragraphs(self) -> pd.DataFrame:
        """One row for each paragraph of a recording; no rows where none were asked for.

        Columns: `start`, `end` (s), `text`, `sentences`, `words` (how many), `speaker` (or NA), `channel`.
        """
        from dgnb import frames

        rows = [
            (
                *_span(one),
                " ".join(str(_at(said, "text") or "") for said in _list(one, "sentences")),
                len(_list(one, "sentences")),
                _at(one, "num_words") or 0,
                _at(one, "speaker"),
                channel,
            )
            for channel, alternative in self._alternatives()
            for one in _list(alternative, "paragraphs", "paragraphs")
        ]
        return frames.rows(frames.PARAGRAPHS, rows)

    @property
    def entities(self) -> pd.DataFrame:
        """One row for each entity that `detect_entities` found, in streams too.

        Columns: `start`, `end` (s), `label`, `value`, `raw_value` (or NA), `confidence` (0 to 1, or NaN), `channel`.
        """
        from dgnb import frames

        rows: list[tuple[Any, ...]] = []
        said: dict[int, list[Word]] = {}
        for record in self._log.records():
            if isinstance(final := record.message, Results) and final.is_final:
                channel = final.channel_index[0] if final.channel_index else 0
                said.setdefault(channel, []).extend(final.words)
                for one in final.entities or ():
                    start, end = _times(list(final.words), one.start_word, one.end_word, one.value, True)
                    times = start + record.offset, end + record.offset
                    rows.append((*times, one.label, one.value, one.raw_value, one.confidence, channel))
        for channel, alternative in self._alternatives():
            for one in _list(alternative, "entities"):
                first, last = _at(one, "start_word"), _at(one, "end_word")
                times = _times(said.get(channel, []), first, last, _at(one, "value"), True)
                more = (_at(one, name) for name in ("label", "value", "raw_value", "confidence"))
                rows.append((*times, *more, channel))
        return frames.rows(frames.ENTITIES, rows)

    @property
    def topics(self) -> pd.DataFrame:
        """One row for each topic of a stretch. Columns: `start`, `end` (s), `text`, `label`, `score` (0 to 1)."""
        return self._labelled("topics", "topic")

    @property
    def intents(self) -> pd.DataFrame:
        """One row for each intent of a stretch. Columns: `start`, `end` (s), `text`, `label`, `score` (0 to 1)."""
        return self._labelled("intents", "intent")

    @property
    def sentiments(self) -> pd.DataFrame:
        """One row for each stretch of one sentiment. `label` says which, and `score` how much (-1 to 1)."""
        return self._labelled("sentiments", "sentiment")

    def _labelled(self, many: str, one: str) -> pd.DataFrame:
        from dgnb import frames

        found = self._answer.results.get(many) if self._answer else None
        # The specification and the service's own examples differ in the depth.
        segments = _list(found, "segments") or _list(found, "results", many, "segments")
        words: list[Word] = []
        for record in self._log.records():
            final = record.message
            if segments and isinstance(final, Results) and final.is_final and final.channel_index[:1] in ((0,), ()):
                words += final.words
        rows = []
        for segment in segments:
            text = _at(segment, "text")
            times = _times(words, _at(segment, "start_word"), _at(segment, "end_word"), text, False)
            for label in _list(segment, many) or [segment]:
                score = _at(label, "confidence_score")
                score = _at(label, f"{one}_score") if score is None else score
                rows.append((*times, text, _at(label, one), score))
        return frames.rows(frames.LABELLED, rows)

    def _alternatives(self) -> Iterator[tuple[int, Any]]:
        for channel, heard in enumerate(_list(self._answer.results if self._answer else {}, "channels")):
            yield channel, _at(heard, "alternatives", 0)


def messages_of(given: Any) -> list[ServerMessage]:
    """The messages that an answer stands for: a final for each utterance, and what else it holds.

    Raises:
        DgnbError: It is no answer of Deepgram, or can't be read.
    """
    answer = _read(given)
    channels, metadata = _list(answer, "results", "channels"), _at(answer, "metadata")
    if not channels and not _list(answer, "results", "utterances"):
        raise DgnbError(_problem(answer))
    named = [place for one in _list(answer, "results", "utterances") if type(place := _at(one, "channel")) is int]
    many = max(1, len(channels), *(place + 1 for place in named if place < MOST_CHANNELS))
    finals = [final for index in range(many) for final in _finals(answer, index, _at(channels, index), many)]
    told = parse(msgspec.json.encode({**(metadata if isinstance(metadata, dict) else {}), "type": "Metadata"}))
    warnings = [
        Warning(": ".join(str(text) for name in ("parameter", "message") if (text := _at(one, name))), _at(one, "type"))
        for one in _list(metadata, "warnings")
    ]
    rest = {name: value for name, value in answer["results"].items() if name not in ("channels", "utterances")}
    rest["channels"] = [_without_words(channel) for channel in channels]
    # Channels come one after the other, and people speak at the same time.
    finals.sort(key=lambda final: final.start)
    return [Answer(metadata if isinstance(metadata, dict) else {}, rest), *finals, *warnings, told]


def _read(given: Any) -> dict[str, Any]:
    name = "It"
    try:
        if hasattr(given, "model_dump_json"):
            # An object of the official SDK.
            given = given.model_dump_json(exclude_none=True)
        if isinstance(given, Mapping):
            given = msgspec.json.encode(dict(given))
        elif isinstance(given, os.PathLike) or (
            isinstance(given, str) and not given.lstrip("\ufeff \t\r\n").startswith(("{", "["))
        ):
            name = os.fsdecode(given)
            with open(os.path.expanduser(name), "rb") as file:
                given = file.read()
        if isinstance(given, bytes | bytearray):
            # PowerShell writes UTF-16.
            given = given.decode(json.detect_encoding(given))
        answer = msgspec.json.decode(given.removeprefix("\ufeff"))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DgnbError(f"{name} can't be read as an answer of Deepgram: {error}. {_REMEDY}") from None
    if not isinstance(answer, dict) or not isinstance(answer.get("results"), dict):
        raise DgnbError(_problem(answer))
    return answer


def _problem(answer: Any) -> str:
    if words := _at(answer, "err_msg") or _at(answer, "message"):
        return f"This is an error of the service, and no transcript: {words}"
    if isinstance(answer, dict) and answer.keys() == {"request_id"}:
        return "This is the receipt of a request with callback: the answer itself goes to the callback's address."
    return f"This is no answer of Deepgram: it has no results.channels. {_REMEDY}"


def _finals(answer: Any, index: int, channel: Any, channels: int) -> Iterator[Results]:
    """The finals of one channel: one for each utterance; without those, for each sentence, or one in all."""
    said, metadata = _at(channel, "alternatives", 0), _at(answer, "metadata")
    spans = [one for one in _list(answer, "results", "utterances") if (_at(one, "channel") or 0) == index]
    words = _list(said, "words") or _all(spans, "words")
    spans = spans or _all(_list(said, "paragraphs", "paragraphs"), "sentences")
    spans = spans or [{**(said if isinstance(said, dict) else {}), "start": 0.0, "end": _at(metadata, "duration")}]
    language, about = _at(channel, "detected_language"), _about(metadata)
    words = [{"language": language, **word} if language else word for word in words if isinstance(word, dict)]
    for span, group in _shared(words, spans) if words else [(one, []) for one in spans]:
        times = [_span(word) for word in group] or [_span(span)]
        text = _at(span, "transcript") or _at(span, "text") or ""
        heard = {"transcript": text, "words": group, "confidence": _at(span, "confidence") or _at(said, "confidence")}
        until = min(start for start, _ in times), max(end for _, end in times)
        yield _final((index, channels), until, heard, about)


def _shared(words: list[Any], spans: list[Any]) -> Iterator[tuple[Any, list[Any]]]:
    """Each stretch with the words that begin in it; {} for words before all of them."""
    known = {_span(one)[0]: one for one in spans}
    starts = sorted(known)

    def place(word: Any) -> int:
        return bisect_right(starts, _span(word)[0] + _ROUNDED)

    for at, group in itertools.groupby(sorted(words, key=place), place):
        yield known[starts[at - 1]] if at else {}, list(group)


def _all(values: list[Any], name: str) -> list[Any]:
    return [one for value in values for one in _list(value, name)]


def _about(metadata: Any) -> dict[str, Any]:
    model = _at(metadata, "models", 0)
    known = _at(metadata, "model_info", model) if isinstance(model, str) else None
    return {"request_id": _at(metadata, "request_id"), "model_uuid": model, "model_info": known}


def _final(channel: tuple[int, int], times: tuple[float, float], heard: Any, about: dict[str, Any]) -> Results:
    final = {
        "type": "Results",
        "channel_index": channel,
        "start": times[0],
        "duration": times[1] - times[0],
        "is_final": True,
        "speech_final": True,
        "channel": {"alternatives": [heard]},
        "metadata": about,
    }
    message = parse(msgspec.json.encode(final))
    if not isinstance(message, Results):
        raise DgnbError(f"This is no answer of Deepgram: {getattr(message, 'problem', '')}. {_REMEDY}")
    return message


def _without_words(channel: Any) -> Any:
    said = _at(channel, "alternatives", 0)
    said = said if isinstance(said, dict) else {}
    kept = {name: value for name, value in said.items() if name not in ("words", "transcript")}
    return {**(channel if isinstance(channel, dict) else {}), "alternatives": [kept]}


def _at(value: Any, *path: str | int) -> Any:
    """What stands at a place of a JSON value, or None: an answer may lack any key."""
    for step in path:
        try:
            value = value[step]
        except (LookupError, TypeError):
            return None
    return value


def _list(value: Any, *path: str | int) -> list[Any]:
    found = _at(value, *path)
    return found if isinstance(found, list) else []


def _span(value: Any) -> tuple[float, float]:
    start, end = (
        float(time) if isinstance(time := _at(value, name), int | float) else 0.0 for name in ("start", "end")
    )
    return start, end


def _times(words: list[Word], first: Any, last: Any, text: Any, beyond: bool) -> tuple[float, float]:
    """When a stretch of words begins and ends; NaN where the numbers are no places of words.

    Deepgram's examples of entities name the word beyond the last one, those of segments the last one. The number of
    words in the text decides; `beyond` where it fits neither.
    """
    if type(first) is not int or type(last) is not int or not 0 <= first <= last:
        return float("nan"), float("nan")
    many = len(str(text).split())
    if many == last - first or (beyond and first < last and many != last - first + 1):
        last -= 1
    start, end = _at(words, first), _at(words, last)
    return (start.start if start else float("nan")), (end.end if end else float("nan"))
