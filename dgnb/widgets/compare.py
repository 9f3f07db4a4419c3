"""`Runs`: what sessions of the panel made of the same sound, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dgnb.notices import printable
from dgnb.session import LiveSession

if TYPE_CHECKING:
    from dgnb.comparison import Comparison

_SHOWN: Final = ["words", "disagreement", "confidence", "latency_p50"]


class Runs(dict[str, LiveSession]):
    """The sessions of one sound, by what they were asked for."""

    def keep(self, session: LiveSession) -> None:
        """Have it among those that are compared."""
        if session not in self.values():
            server = "" if session.endpoint.kind == "deepgram" else f" ({session.endpoint.name})"
            asked = {name: value for name, value in session.options.changed().items() if name != "model"}
            told = [name if value is True else f"{name}={value}" for name, value in asked.items()]
            name = printable(", ".join([session.options.model, *told]) + server)
            self[f"{name}, run {len(self) + 1}" if name in self else name] = session

    def compared(self) -> tuple[Comparison, dict[str, Any]]:
        """The comparison, and its rows for the front end. It blocks. `DgnbError`: they can't be compared."""
        from dgnb.comparison import Comparison

        comparison = Comparison({name: session.transcript for name, session in self.items()})
        table = comparison.summary[_SHOWN].astype("object")
        table = table.where(table.notna(), None).assign(heard=[one.audio_cursor for one in self.values()])
        return comparison, {"rows": table.reset_index().to_numpy().tolist()}
