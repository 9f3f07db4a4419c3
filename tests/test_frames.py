"""Tables have their columns and dtypes, with rows and without."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgnb import frames

NAMES = ("WORDS", "UTTERANCES", "RESULTS", "EVENTS", "GAPS", "PAUSES", "RATES", "FOUND", "DOUBTFUL")
SCHEMAS = {name: getattr(frames, name) for name in NAMES}
VALUES = {
    "string": st.none() | st.text(st.characters(codec="utf-8"), max_size=5),
    "float64": st.none() | st.floats(allow_nan=False),
    "Int64": st.none() | st.integers(-(2**53), 2**53),
    "int64": st.integers(-(2**53), 2**53),
    "bool": st.booleans(),
    "datetime64[ns, UTC]": st.integers(0, 2**62),
}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_a_table_without_rows_has_its_columns_and_dtypes(schema: Mapping[str, str]) -> None:
    for table in (frames.rows(schema, []), frames.table(schema, {name: [] for name in schema})):
        assert len(table) == 0
        assert {name: str(dtype) for name, dtype in table.dtypes.items()} == dict(schema)


@given(data=st.data(), schema=st.sampled_from(list(SCHEMAS.values())), count=st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_any_values_have_the_same_dtypes_and_come_out_as_they_went_in(
    data: st.DataObject, schema: Mapping[str, str], count: int
) -> None:
    records = [tuple(data.draw(VALUES[dtype]) for dtype in schema.values()) for _ in range(count)]
    table = frames.rows(schema, records)
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == dict(schema)
    assert list(table.index) == list(range(count))
    for column, (name, dtype) in enumerate(schema.items()):
        for row, record in enumerate(records):
            got, want = table[name].iloc[row], record[column]
            if want is None:
                assert got is pd.NA or np.isnan(got)
            elif dtype.startswith("datetime"):
                assert got.value == want // 10**6 * 10**6
            else:
                assert got == want


def test_a_column_of_missing_values_is_like_any_other() -> None:
    table = frames.rows(frames.EVENTS, [(0.5, "a", "b", 1, None)] * 3)
    assert table["request_id"].isna().all()
    assert str(table["request_id"].dtype) == "string"
    table.loc[1, "request_id"] = "r"
    assert table["request_id"].isna().tolist() == [True, False, True]


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_columns_without_a_single_value_keep_their_dtypes(schema: Mapping[str, str]) -> None:
    missing = [None if dtype in ("string", "float64", "Int64") else 0 for dtype in schema.values()]
    table = frames.rows(schema, [missing, missing])
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == dict(schema)
    for name, value in zip(schema, missing, strict=True):
        assert table[name].isna().all() == (value is None)


def test_numbers_may_come_as_arrays() -> None:
    columns = {"start": np.array([0.5]), "end": np.array([1.0]), "words": np.array([3]), "words_per_minute": [360.0]}
    table = frames.table(frames.RATES, columns)
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == dict(frames.RATES)
    assert table.values.tolist() == [[0.5, 1.0, 3.0, 360.0]]


def test_records_of_another_length_are_a_mistake() -> None:
    with pytest.raises(ValueError, match=r"shorter|longer"):
        frames.rows(frames.GAPS, [(0.0, 1.0)])
