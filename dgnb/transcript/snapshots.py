"""`Snapshots`: the tables of a transcript as data frames, at the cost of what is new in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dgnb import frames
from dgnb.messages import Results
from dgnb.transcript.churn import Churn
from dgnb.transcript.log import MessageLog
from dgnb.transcript.records import Event, Gap, results_row
from dgnb.transcript.words import WordLog, utterances_row

if TYPE_CHECKING:
    import pandas as pd


class Snapshots:
    """Converts what has come since a table was asked for last. Each frame is independent of the next one."""

    def __init__(self, messages: MessageLog, words: WordLog) -> None:
        self._messages = messages
        self._log = words
        self._events = frames.GrowingTable(frames.EVENTS)
        self._start_words()
        self._start_results()

    def _start_words(self) -> None:
        self._words = frames.GrowingTable(frames.WORDS)
        self._utterances = frames.GrowingTable(frames.UTTERANCES, block=128)
        self._words_read = self._placed = self._words_amended = self._utterances_amended = 0
        self._silent = list(frames.OPTIONAL)
        self._edits = len(self._log.overlay.edits)
        self._unnamed = [] if self._log.overlay.names else [frames.NAME]

    def _notice_edits(self) -> None:
        if self._edits != len(self._log.overlay.edits):
            # They may be anywhere.
            self._start_words()

    def words(self) -> pd.DataFrame:
        """See `Transcript.words`."""
        self._notice_edits()
        table, amended = self._words, self._log.punctuated
        corrected = bool(self._log.overlay.corrected)
        if self._placed < len(self._log) or len(amended) > self._words_amended:
            first = 0 if corrected else min([table.settled, *amended[self._words_amended :]])
            columns = self._log.columns(first)
            new = frames.table({name: dtype for name, dtype in frames.WORDS.items() if name in columns}, columns)
            self._silent = [
                name for name in self._silent if name not in new or (new[name] == frames.OPTIONAL[name]).all()
            ]
            table.replace(first, new)
            if corrected:
                self._index = new.set_axis(list(columns["place"])).index
            self._placed, self._words_amended = len(self._log), len(amended)
        frame = table.snapshot().drop(columns=self._silent + self._unnamed, errors="ignore")
        return frame.set_axis(self._index) if corrected else frame

    def utterances(self) -> pd.DataFrame:
        """See `Transcript.utterances`."""
        self._notice_edits()
        table, amended = self._utterances, self._log.punctuated
        changed = min([self._words_read, *amended[self._utterances_amended :]])
        if changed < len(self._log):
            # Any utterance that has not ended may have new words, also one that is settled.
            first = min(table.settled, self._log.changed(changed))
            rows = (utterances_row(*said, self._log.overlay.names) for said in self._log.utterances(first))
            table.replace(first, frames.rows(frames.UTTERANCES, rows))
            self._words_read, self._utterances_amended = len(self._log), len(amended)
        return table.snapshot().drop(columns=self._unnamed)

    def results(self) -> pd.DataFrame:
        """See `Transcript.results`."""
        table, before = self._results, len(self._unsettled)
        try:
            for record in self._messages.records(self._messages_read):
                self._messages_read += 1
                if isinstance(record.message, Results):
                    churn = self._churn.take(record.message, record.connection)
                    self._unsettled.append(results_row(record, record.message, churn))
            if len(self._unsettled) > before:
                table.replace(table.settled, frames.rows(frames.RESULTS, self._unsettled))
                if table.settled == len(table):
                    self._unsettled.clear()
        except BaseException:
            # The user may interrupt the cell anywhere in it.
            self._start_results()
            raise
        return table.snapshot()

    def events(self, events: Sequence[Event]) -> pd.DataFrame:
        """See `Transcript.events`; the events may come in any order."""
        if len(self._events) != len(events):
            ordered = sorted(events, key=lambda event: event.at)
            rows = ((event.start, event.type, event.text, event.at, event.request_id) for event in ordered)
            self._events.replace(0, frames.rows(frames.EVENTS, rows))
        return self._events.snapshot()

    def gaps(self, gaps: Sequence[Gap]) -> pd.DataFrame:
        """See `Transcript.gaps`."""
        rows = ((gap.start, gap.end, gap.end - gap.start or gap.missed, gap.reason) for gap in gaps)
        return frames.rows(frames.GAPS, rows)

    def _start_results(self) -> None:
        self._results = frames.GrowingTable(frames.RESULTS, block=512)
        self._messages_read = 0
        self._churn = Churn()
        self._unsettled: list[tuple[Any, ...]] = []
