"""`Snapshots`: the tables of a transcript as data frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from dgnb import frames
from dgnb.transcript.churn import Churn
from dgnb.transcript.log import MessageLog
from dgnb.transcript.records import Event, Gap, results_row
from dgnb.transcript.turns import Turns, heard_in
from dgnb.transcript.words import WordLog, utterances_row

if TYPE_CHECKING:
    import pandas as pd

_BLOCK: Final = 512  # Rows of `results` that are converted again when it is read, at most


class Snapshots:
    """Makes the tables, and anew when something changed. Each frame is independent of the next one."""

    def __init__(self, messages: MessageLog, words: WordLog) -> None:
        self._messages = messages
        self._log = words
        self._made: dict[str, tuple[object, pd.DataFrame]] = {}
        self._start()

    def _start(self) -> None:
        self._settled = frames.rows(frames.RESULTS, ())
        self._messages_read = 0
        self._churn = Churn()
        self._turns = Turns()
        self._unsettled: list[tuple[Any, ...]] = []

    def _fresh(self, name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        state = self._log.state
        if name not in self._made or self._made[name][0] != state:
            self._made[name] = state, make()
        return self._made[name][1].copy()

    def words(self) -> pd.DataFrame:
        """See `Transcript.words`."""
        return self._fresh("words", self._make_words)

    def _make_words(self) -> pd.DataFrame:
        columns = self._log.columns()
        frame = frames.table({name: dtype for name, dtype in frames.WORDS.items() if name in columns}, columns)
        optional = [(name, usual) for name, usual in frames.OPTIONAL.items() if name in frame]
        frame = frame.drop(columns=[name for name, usual in optional if (frame[name] == usual).all()])
        return frame.set_axis(list(columns["place"])) if self._log.overlay.corrected else frame

    def utterances(self) -> pd.DataFrame:
        """See `Transcript.utterances`."""
        return self._fresh("utterances", self._make_utterances)

    def _make_utterances(self) -> pd.DataFrame:
        names = self._log.overlay.names
        frame = frames.rows(frames.UTTERANCES, (utterances_row(*said, names) for said in self._log.utterances()))
        return frame if names else frame.drop(columns=frames.NAME)

    def results(self) -> pd.DataFrame:
        """See `Transcript.results`."""
        try:
            self._read()
            frame = frames.rows(frames.RESULTS, self._unsettled)
            if len(self._settled):
                frame = frames.stacked(self._settled, frame)
            if len(self._unsettled) >= _BLOCK:
                self._settled = frame
                self._unsettled.clear()
        except BaseException:
            # The user may interrupt the cell anywhere in it.
            self._start()
            raise
        return frame.copy()

    def _read(self) -> None:
        for record in self._messages.records(self._messages_read):
            self._messages_read += 1
            self._turns.take(record)
            if heard := heard_in(record.message):
                churn = self._churn.take(heard, record.connection)
                self._unsettled.append(results_row(record, heard, churn))

    def turns(self) -> pd.DataFrame:
        """See `Transcript.turns`."""
        self.results()
        return frames.rows(frames.TURNS, self._turns.rows)

    def events(self, events: Iterable[Event]) -> pd.DataFrame:
        """See `Transcript.events`; the events may come in any order."""
        ordered = sorted(events, key=lambda event: event.at)
        rows = ((event.start, event.type, event.text, event.at, event.request_id) for event in ordered)
        return frames.rows(frames.EVENTS, rows)

    def gaps(self, gaps: Sequence[Gap]) -> pd.DataFrame:
        """See `Transcript.gaps`."""
        rows = ((gap.start, gap.end, gap.end - gap.start or gap.missed, gap.reason) for gap in gaps)
        return frames.rows(frames.GAPS, rows)
