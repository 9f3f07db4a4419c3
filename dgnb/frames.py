"""Tables: one schema for each, and columns of plain values to pandas in one go.

A table has the same columns and dtypes whether it has rows or not. Times are seconds on the source's timeline unless
a column's name says otherwise; `received_at` and `at` are wall-clock times in UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

__all__ = [
    "DOUBTFUL",
    "EVENTS",
    "FOUND",
    "GAPS",
    "PAUSES",
    "RATES",
    "RESULTS",
    "UTTERANCES",
    "WORDS",
    "rows",
    "snapshot",
    "table",
]

_UTC: Final = "datetime64[ns, UTC]"

WORDS: Final[Mapping[str, str]] = {
    "word": "string",
    "punctuated_word": "string",
    "start": "float64",
    "end": "float64",
    "confidence": "float64",
    "speaker": "Int64",
    "channel": "int64",
    "language": "string",
    "utterance": "int64",
    "received_at": _UTC,
}
UTTERANCES: Final[Mapping[str, str]] = {
    "start": "float64",
    "end": "float64",
    "transcript": "string",
    "words": "int64",
    "confidence": "float64",
    "speaker": "Int64",
    "channel": "int64",
}
RESULTS: Final[Mapping[str, str]] = {
    "received_at": _UTC,
    "start": "float64",
    "end": "float64",
    "channel": "int64",
    "is_final": "bool",
    "speech_final": "bool",
    "from_finalize": "bool",
    "transcript": "string",
    "words": "int64",
    "confidence": "float64",
    "audio_cursor": "float64",
    "latency": "float64",
    "finalization_delay": "float64",
    "churn": "float64",
    "connection": "int64",
}
EVENTS: Final[Mapping[str, str]] = {"at": _UTC, "type": "string", "text": "string", "request_id": "string"}
GAPS: Final[Mapping[str, str]] = {"start": "float64", "end": "float64", "reason": "string"}
PAUSES: Final[Mapping[str, str]] = {
    "start": "float64",
    "end": "float64",
    "seconds": "float64",
    "after": "string",
    "before": "string",
    "channel": "int64",
}
RATES: Final[Mapping[str, str]] = {
    "start": "float64",
    "end": "float64",
    "words": "int64",
    "words_per_minute": "float64",
}
FOUND: Final[Mapping[str, str]] = {
    "start": "float64",
    "end": "float64",
    "text": "string",
    "context": "string",
    "channel": "int64",
    "first": "int64",
    "last": "int64",
}
DOUBTFUL: Final[Mapping[str, str]] = {
    "start": "float64",
    "end": "float64",
    "text": "string",
    "words": "int64",
    "confidence": "float64",
    "channel": "int64",
    "first": "int64",
    "last": "int64",
}

# From pandas 3 on, a shallow copy is a snapshot: whoever writes to one does not write to the other.
_COPY_ON_WRITE: Final = int(pd.__version__.split(".")[0]) >= 3


def table(schema: Mapping[str, str], columns: Mapping[str, Any]) -> pd.DataFrame:
    """Columns of plain values as a frame of exactly this schema.

    Args:
        schema: Column names and dtypes, in order.
        columns: As many values for each, in a sequence or, for numbers, an array; None where there is none; UTC times
            in nanoseconds.
    """
    return pd.DataFrame({name: _column(columns[name], dtype) for name, dtype in schema.items()})


def rows(schema: Mapping[str, str], records: Iterable[Sequence[Any]]) -> pd.DataFrame:
    """Records in the order of the schema's columns, as a frame."""
    columns = list(zip(*records, strict=True)) or [()] * len(schema)
    return table(schema, dict(zip(schema, columns, strict=True)))


def _column(values: Any, dtype: str) -> Any:
    if dtype == _UTC:
        return pd.DatetimeIndex(np.array(values, dtype="int64").view("M8[ns]"), tz="UTC")
    if dtype not in ("string", "Int64"):
        return np.array(values, dtype=dtype)
    array: Any = pd.array
    if values and values.count(None) == len(values):
        # Languages and speakers are often all missing, and missing ones are slow to read one by one.
        return array([None], dtype=dtype).take(np.zeros(len(values), dtype="int64"))
    return array(values, dtype=dtype)


def snapshot(frame: pd.DataFrame) -> pd.DataFrame:
    """A copy that its owner may change without changing `frame`."""
    return frame.copy(deep=not _COPY_ON_WRITE)
