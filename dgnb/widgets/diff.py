"""`Diff`: the texts of a comparison side by side, with their sound."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from dgnb import files
from dgnb.comparison import Comparison
from dgnb.comparison.lines import side_by_side
from dgnb.notices import printable
from dgnb.values import number
from dgnb.widgets.player import Player, embedded, framed, page

_DRAWING, _LOOKS = (Path(__file__).with_suffix(kind).read_text(encoding="utf-8") for kind in (".js", ".css"))


class Diff:
    """What `Comparison.diff` gives: a page in a frame, which needs no kernel and no network."""

    def __init__(self, comparison: Comparison, start: float = 0.0, end: float | None = None) -> None:
        start = number("start is a time in seconds", start, 0)
        end = None if end is None else number("end is a time in seconds after start", end, start)
        last = comparison.words["end"].max()
        sounds = [run.audio for run in comparison.transcripts.values() if run.audio]
        sound = embedded(sounds[0], start, end, last) if sounds else None
        self._data: dict[str, Any] = {
            "names": list(map(printable, comparison.sides)),
            "rows": side_by_side(comparison, start, end),
        }
        self._data["sound"] = sound

    def _page(self, frame: str) -> str:
        script, style = f"{Player._esm}\n{_DRAWING}\ncompared();\n", f"{Player._css}\n{_LOOKS}"
        return page(frame, script, style, "Comparison", {**self._data, "frame": frame})

    def _repr_mimebundle_(self, **_: Any) -> Any:
        lines = [
            f"{name}: {''.join(f' {mark}{said.strip()}' for said, _, _, mark in cell).strip()}"
            for cells in self._data["rows"]
            for name, cell in zip(self._data["names"], cells, strict=True)
        ]
        return framed(self._page("diff"), "Comparison", "32em", "\n".join(lines))

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write a page that needs no kernel and no network."""
        files.write(path, self._page(""))
