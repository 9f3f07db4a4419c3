"""The texts of a comparison in lines, as they are shown side by side."""

from __future__ import annotations

import math
from typing import Any, Final

import pandas as pd

from dgnb.comparison.report import Comparison
from dgnb.notices import printable

_MARKS: Final = ("", "≠", "−", "+")


def side_by_side(comparison: Comparison, start: float, end: float | None) -> list[Any]:
    """For each utterance of the first text, the words of each text: the word, its start and end, and a mark."""
    ops, sides, pairs = comparison.ops.fillna(0).astype(int), comparison.sides, comparison.pairs
    base = next(iter(sides))
    places = {name: pd.Series(each.j, each.keys).reindex(ops.index, fill_value=-1) for name, each in pairs.items()}
    group = pd.Series(sides[base].utterance, pairs[base].keys).reindex(ops.index).ffill().bfill().fillna(0)
    # In the first text, a word is marked that another one has not, or has otherwise.
    ops[base] = ops.isin([1, 2]).any(axis=1).astype(int)
    time = comparison.words["start"].to_numpy()
    here = ~(time < start) & ~(time > (math.inf if end is None else end))
    rows: dict[Any, list[list[Any]]] = {of: [[] for _ in sides] for of in group[here]}
    for column, (name, side) in enumerate(sides.items()):
        done = 0
        for place, op, of, inside, at in zip(places[name], ops[name], group, here, time, strict=True):
            cell, mark = rows[of][column] if inside else [], _MARKS[op]
            if place < 0:
                if op:
                    cell.append(["", _second(at), None, mark])
                continue
            # With words before it that are not compared, such as "um"; none for the second half of "can't".
            said, done = "".join(side.shown[done : side.last[place] + 1]), max(done, side.last[place] + 1)
            if said:
                cell.append([printable(said), _second(side.start[place]), _second(side.end[place]), mark])
            elif cell and op:
                cell[-1][3] = mark
    return list(rows.values())


def _second(at: float) -> float | None:
    return None if math.isnan(at) else round(float(at), 3)
