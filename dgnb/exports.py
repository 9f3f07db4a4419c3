"""Exports: tables and words in the formats of other tools. Pure functions, no I/O.

TextGrid and RTTM have times in whole milliseconds; CSV, Parquet and JSON keep every digit.
"""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dgnb.captions import NOBODY, Names, Utterance, milliseconds, plain, voices
from dgnb.exceptions import ConfigurationError, DgnbError, nearest
from dgnb.messages import Answer, Metadata, Word
from dgnb.options import MOST_CHANNELS
from dgnb.values import native
from dgnb.writing import CONTROLS, joined, one_line

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["TABLES", "to_csv", "to_deepgram_json", "to_excel", "to_parquet", "to_rttm", "to_textgrid"]
__dir__ = __all__.copy

TABLES: Final = ("words", "utterances", "turns", "results", "events", "gaps")
"""The tables of a transcript that can be written."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Spreadsheets run text that begins so as a formula."""
_SHEET_ROWS: Final = 1_048_576


# Tables


def to_csv(frame: pd.DataFrame, *, safe: bool = True) -> str:
    """A table as CSV (RFC 4180: commas, CRLF): see `Transcript.to_csv`. NUL becomes a space."""
    frame = frame.copy()
    for column in frame.select_dtypes("datetimetz"):
        # Times are slow to format, and many words arrive at the same time.
        codes, times = frame[column].factorize()
        frame[column] = times.astype(str).take(codes)
    for column in frame.select_dtypes("string"):
        frame[column] = frame[column].str.replace("\0", " ", regex=False)
    if safe:
        _make_safe(frame)
    return frame.to_csv(index=False, lineterminator="\r\n")


def _make_safe(frame: pd.DataFrame) -> None:
    """Put a `'` before text, in cells and headers, that a spreadsheet would run as a formula."""
    column: str
    for column in frame.select_dtypes("string"):
        risky = frame[column].str.startswith(_FORMULA, na=False)
        frame[column] = frame[column].mask(risky, "'" + frame[column])
    frame.columns = [f"'{name}" if name.startswith(_FORMULA) else name for name in frame.columns]


def to_excel(tables: Mapping[str, pd.DataFrame]) -> bytes:
    """Tables as the sheets of an Excel file: see `Transcript.to_excel`."""
    import pandas as pd

    file = io.BytesIO()
    if too_long := [name for name, table in tables.items() if len(table) >= _SHEET_ROWS]:
        raise DgnbError(f"{too_long[0]!r} does not fit in a sheet of {_SHEET_ROWS:,} rows. Use to_csv().")
    try:
        with pd.ExcelWriter(file, engine="openpyxl") as writer:
            for name, table in tables.items():
                frame = table.copy()
                for column in frame.select_dtypes("datetimetz"):
                    # Excel has no time zones.
                    frame[column] = frame[column].dt.tz_localize(None)
                for column in frame.select_dtypes("string"):
                    frame[column] = frame[column].str.replace(CONTROLS, " ", regex=True)
                _make_safe(frame)
                frame.to_excel(writer, sheet_name=name, index=False)
    except ImportError as error:
        raise DgnbError("Excel files need openpyxl. Install it: pip install openpyxl") from error
    return file.getvalue()


def to_parquet(frame: pd.DataFrame) -> bytes:
    """A table as Parquet: see `Transcript.to_parquet`."""
    try:
        return frame.to_parquet(engine="pyarrow", index=False)
    except ImportError as error:
        raise DgnbError("Parquet needs pyarrow. Install it: pip install 'dgnb[export]'") from error


def known(table: str) -> str:
    """The name of a table; `ConfigurationError` where there is none of that name."""
    table = native(table)
    if table not in TABLES:
        raise ConfigurationError(f"There is no table {table!r}: {', '.join(TABLES)}.{nearest(str(table), TABLES)}")
    return table


# Praat


def to_textgrid(utterances: Sequence[Utterance], *, duration: float = 0.0, names: Names = NOBODY) -> str:
    """Words and utterances as a Praat TextGrid up to `duration` seconds: see `Transcript.to_textgrid`.

    Praat allows no intervals without length: each lasts 1 ms or more, and empty ones are where nobody speaks.
    """
    tiled = {name: _tiled(spans) for name, spans in _tiers(utterances, names).items()}
    end = max([1, milliseconds(duration), *(intervals[-1][1] for intervals in tiled.values() if intervals)])
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", "xmin = 0", f"xmax = {end / 1000}"]
    lines += ["tiers? <exists>", f"size = {len(tiled)}", "item []:"]
    for number, (name, intervals) in enumerate(tiled.items(), 1):
        at = intervals[-1][1] if intervals else 0
        if at < end:
            intervals.append((at, end, ""))
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f'        name = "{name}"']
        lines += ["        xmin = 0", f"        xmax = {end / 1000}", f"        intervals: size = {len(intervals)}"]
        lines += (
            f"        intervals [{index}]:\n            xmin = {since / 1000}\n            xmax = {until / 1000}\n"
            f'            text = "{text}"'
            for index, (since, until, text) in enumerate(intervals, 1)
        )
    return "\n".join(lines) + "\n"


def _tiers(utterances: Sequence[Utterance], names: Names) -> dict[str, list[tuple[float, float, str]]]:
    """The intervals of each tier, in seconds."""
    name = voices(utterances, names=names)
    tiers: dict[str, list[tuple[float, float, str]]] = {}
    for words, channel in utterances:
        if words:
            voice = name(channel, words[0].speaker)
            label = f"{voice}: ".replace('"', '""') if voice else ""
            spans = [(word.start, word.end, plain(word)) for word in words]
            tiers.setdefault(f"{label}words", []).extend(spans)
            text = one_line(joined(words))
            tiers.setdefault(f"{label}utterances", []).append((*_span(words), text))
    return tiers or {"words": [], "utterances": []}


def _tiled(spans: Iterable[tuple[float, float, str]]) -> list[tuple[int, int, str]]:
    """Intervals in milliseconds from 0 to the end of the last span, without overlaps or holes."""
    tiled: list[tuple[int, int, str]] = []
    at = 0
    for since, until, text in sorted(spans, key=lambda span: span[0]):
        if not text:
            continue
        start = milliseconds(since)
        if tiled:
            before, end, said = tiled[-1]
            start = max(start, before + 1)
            at = min(end, start)
            tiled[-1] = (before, at, said)
        if start > at:
            tiled.append((at, start, ""))
        tiled.append((start, max(start + 1, milliseconds(until)), text.replace('"', '""')))
    return tiled


# RTTM


def to_rttm(utterances: Sequence[Utterance], *, file_id: str = "audio", names: Names = NOBODY) -> str:
    """Who spoke when, as RTTM: a line for each utterance, which is one speaker's turn, in order of time.

    Channels count from 1. Names are `speaker_0` or `unknown`; with several channels `channel_1_speaker_0` or
    `channel_1`, because speaker 0 of another channel is someone else. Those of `names` have `_` for
    spaces. A turn lasts 1 ms or more.
    """
    file_id = native(file_id)
    if not isinstance(file_id, str) or file_id.split() != [file_id]:
        raise ConfigurationError(f"file_id must be a name without spaces, not {file_id!r}.")
    name = voices(utterances, True)
    turns = []
    for words, channel in utterances:
        if words:
            since, until = map(milliseconds, _span(words))
            own = names.get(words[0].speaker, "")
            voice = name(channel, None if own else words[0].speaker).lower().replace(",", "")
            voice = "_".join([*voice.split(), *own.split()])
            turns.append((since, channel + 1, max(1, until - since), voice or "unknown"))
    turns.sort()
    return "".join(
        f"SPEAKER {file_id} {channel} {since / 1000:.3f} {length / 1000:.3f} <NA> <NA> {name} <NA> <NA>\n"
        for since, channel, length, name in turns
    )


# Deepgram's pre-recorded JSON


def to_deepgram_json(utterances: Sequence[Utterance], metadata: Metadata, answer: Answer | None = None) -> str:
    """All words in the format of Deepgram's response for a recording, with `utterances=true` and what `answer` has."""
    spoken = sorted(((words, channel) for words, channel in utterances if words), key=lambda said: said[0][0].start)
    # A server may name any number.
    silent = range(min(metadata.channels or 1, MOST_CHANNELS))
    by_channel: dict[int, list[Word]] = {channel: [] for channel in sorted({*silent, *(where for _, where in spoken)})}
    turns: list[dict[str, Any]] = []
    for words, channel in spoken:
        by_channel[channel] += words
        start, end = _span(words)
        speaker = {} if words[0].speaker is None else {"speaker": words[0].speaker}
        name = uuid.uuid5(uuid.NAMESPACE_OID, f"{metadata.request_id}/{len(turns)}")
        turns.append({"start": start, "end": end, "channel": channel, **_said(words), **speaker, "id": str(name)})
    results: dict[str, Any] = {"channels": [{"alternatives": [_said(words)]} for words in by_channel.values()]}
    results["utterances"] = turns
    # Fields that are required but unknown have a neutral value.
    described = {
        "transaction_key": metadata.transaction_key or "deprecated",
        "request_id": metadata.request_id or "",
        "sha256": metadata.sha256 or "",
        "created": metadata.created or "1970-01-01T00:00:00.000Z",
        "duration": metadata.duration or 0.0,
        "channels": len(by_channel),
        "models": metadata.models or (),
        "model_info": metadata.model_info or {},
    }
    if answer:
        described |= answer.metadata
        for ours, theirs in zip(results["channels"], answer.results.get("channels", ()), strict=False):
            (said,), (kept,) = ours["alternatives"], theirs["alternatives"]
            ours |= {**theirs, "alternatives": [{**said, **kept}]}
        results = {**answer.results, **results}
    return msgspec.json.encode({"metadata": described, "results": results}).decode()


def _said(words: Sequence[Word]) -> dict[str, Any]:
    confidences = [word.confidence for word in words if word.confidence is not None]
    mean = {"confidence": sum(confidences) / len(confidences)} if confidences else {}
    # With the fields of the service alone.
    plain = [Word(*(getattr(word, name) for name in Word.__struct_fields__)) for word in words]
    return {"transcript": joined(words), **mean, "words": plain}


def _span(words: Sequence[Word]) -> tuple[float, float]:
    return min(word.start for word in words), max(word.end for word in words)
