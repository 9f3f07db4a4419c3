"""Tables: a schema for each, and plain values to data frames.

A table has the same columns and dtypes with and without rows; what people read most stands first. Times are seconds on
the source's timeline; the columns `received_at` and `at` are moments in UTC, in whole milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

Schema = Mapping[str, str]
"""Names of columns, in order, and their dtypes."""

_UTC: Final = "datetime64[ns, UTC]"
_MILLISECOND: Final = 1_000_000
_SPAN: Final = {"start": "float64", "end": "float64"}
_PLACE: Final = {"channel": "int64", "first": "int64", "last": "int64"}

WORDS: Final[Schema] = {
    "word": "string",
    **_SPAN,
    "confidence": "float64",
    "speaker": "Int64",
    "speaker_name": "string",
    "speaker_confidence": "float64",
    "punctuated_word": "string",
    "channel": "int64",
    "language": "string",
    "utterance": "int64",
    "spaced": "bool",
    "estimated": "bool",
    "corrected": "bool",
    "received_at": _UTC,
}
OPTIONAL: Final[Mapping[str, bool]] = {"spaced": True, "estimated": False, "corrected": False}
"""Columns of `WORDS` that a table has only if a word has another value than this one: they say nothing about most."""

NAME: Final = "speaker_name"
"""The column that tables have only while speakers have names."""

UTTERANCES: Final[Schema] = {
    **_SPAN,
    "transcript": "string",
    "words": "int64",
    "confidence": "float64",
    "speaker": "Int64",
    "speaker_name": "string",
    "channel": "int64",
}
RESULTS: Final[Schema] = {
    **_SPAN,
    "transcript": "string",
    "is_final": "bool",
    "confidence": "float64",
    "latency": "float64",
    "finalization_delay": "float64",
    "churn": "float64",
    "words": "int64",
    "channel": "int64",
    "speech_final": "bool",
    "from_finalize": "bool",
    "audio_cursor": "float64",
    "connection": "int64",
    "received_at": _UTC,
}
EVENTS: Final[Schema] = {"start": "float64", "type": "string", "text": "string", "at": _UTC, "request_id": "string"}
TURNS: Final[Schema] = {
    "turn": "int64",
    **_SPAN,
    "transcript": "string",
    "words": "int64",
    "trigger": "string",
    "end_of_turn_confidence": "float64",
    "end_of_turn_delay": "float64",
    "eager_at": "float64",
    "resumed": "int64",
    "received_at": _UTC,
}
PARAGRAPHS: Final[Schema] = {
    **_SPAN,
    "text": "string",
    "sentences": "int64",
    "words": "int64",
    "speaker": "Int64",
    "channel": "int64",
}
ENTITIES: Final[Schema] = {
    **_SPAN,
    "label": "string",
    "value": "string",
    "raw_value": "string",
    "confidence": "float64",
    "channel": "int64",
}
LABELLED: Final[Schema] = {**_SPAN, "text": "string", "label": "string", "score": "float64"}
GAPS: Final[Schema] = {**_SPAN, "missed": "float64", "reason": "string"}
PAUSES: Final[Schema] = {**_SPAN, "seconds": "float64", "after": "string", "before": "string", "channel": "int64"}
RATES: Final[Schema] = {**_SPAN, "words": "int64", "words_per_minute": "float64"}
FOUND: Final[Schema] = {**_SPAN, "text": "string", "context": "string", **_PLACE}
DOUBTFUL: Final[Schema] = {**_SPAN, "text": "string", "words": "int64", "confidence": "float64", **_PLACE}
MODELS: Final[Schema] = {
    **{name: "string" for name in ("name", "canonical_name", "architecture")},
    "languages": "object",
    **{"version": "string", "uuid": "string", "batch": "boolean", "streaming": "boolean", "kind": "string"},
}


def table(schema: Schema, columns: Mapping[str, Any]) -> pd.DataFrame:
    """A frame of this schema. None is a missing value; moments are ns since 1970, UTC, kept to the millisecond."""
    return pd.DataFrame({name: _column(columns[name], dtype) for name, dtype in schema.items()})


def rows(schema: Schema, records: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """A frame of records that have their values in the order of the schema's columns."""
    columns = list(zip(*records, strict=True)) or [()] * len(schema)
    return table(schema, dict(zip(schema, columns, strict=True)))


def stacked(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """A new frame of the rows of both."""
    return pd.concat([first, second], ignore_index=True)


def _column(values: Any, dtype: str) -> Any:
    if dtype == _UTC:
        whole = np.array(values, dtype="int64") // _MILLISECOND * _MILLISECOND
        return pd.DatetimeIndex(whole.view("M8[ns]"), tz="UTC")
    if dtype == "object":
        return pd.Series(list(values), dtype=dtype)
    if dtype not in ("string", "Int64", "boolean"):
        return np.array(values, dtype=dtype)
    array: Any = pd.array
    if values and values.count(None) == len(values):
        # Languages and speakers are often all missing, and pandas converts missing values one at a time.
        return array([None], dtype=dtype).take(np.zeros(len(values), dtype="int64"))
    return array(values, dtype=dtype)
