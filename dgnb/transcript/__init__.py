"""`Transcript`: what was said so far, as tables, captions and files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import structs

from dgnb import captions, exports, files
from dgnb.exceptions import DgnbError
from dgnb.messages import Metadata
from dgnb.transcript import storage
from dgnb.transcript.answer import Answered
from dgnb.transcript.records import Event, Gap, Line, Record

if TYPE_CHECKING:
    import pandas as pd

    from dgnb.transcript.snapshots import Snapshots

__all__ = ["Event", "Gap", "Line", "Record", "Transcript"]

_INTERNAL: Final = {
    *("add_gap", "count", "cursor", "drop_interims", "feed", "items", "lines", "note", "restore", "revision", "saved"),
    *("since", "voice", "withdraw_gap", "word_count"),
}
"""What sessions and widgets need of a transcript, and users do not."""


class Transcript(Answered):
    """What was said so far. It grows while a stream runs, and stays when the stream has ended.

    Each table is a snapshot: changing it changes nothing here. A method with a `path` replaces that file as a whole or
    not at all, and raises `DgnbError` when it can't be written. A table of another name is a `ConfigurationError`. All
    times are seconds on the source's timeline, also after a reconnect. Not thread-safe: use it in the session's loop,
    which runs every cell.

    Example:
        ```python
        transcript = await dgnb.transcribe("speech.wav", smart_format=True)
        transcript.words.query("confidence < 0.5")
        transcript.to_srt("speech.srt")
        ```
    """

    def __dir__(self) -> Iterable[str]:
        return [name for name in super().__dir__() if not name.startswith("_") and name not in _INTERNAL]

    # Tables

    @property
    def words(self) -> pd.DataFrame:
        """One row for each word of the finals, in the order that they came.

        Columns: `word` (as recognised), `start`, `end` (s), `confidence` (0 to 1, or NaN), `speaker` (or NA),
        `punctuated_word` (as displayed), `channel`, `language` (or NA), `utterance` (row of `utterances`),
        `received_at` (UTC, to the millisecond), and `speaker_name` (or NA) while `speakers` have names.

        These columns are always there, so that code written for one recording runs for the next one. To see less, use
        `words.iloc[:, :4]`, or `words.dropna(axis="columns", how="all")` without the columns that have no value. Three
        further columns are there only where they tell words apart: `spaced` (a space stands before the word: not in
        Chinese, Japanese or Thai), `estimated` (its times are a share of its final's, because the server sent text
        without words, or of a correction's) and `corrected` (see `correct`). Recordings may have
        `speaker_confidence` (0 to 1).
        """
        return self._snapshots.words()

    @property
    def utterances(self) -> pd.DataFrame:
        """One row for each utterance. It ends at a `speech_final`, an `UtteranceEnd`, or where the speaker changes.

        Columns: `start`, `end` (s), `transcript`, `words` (how many), `confidence` (mean of the words'), `speaker`,
        `speaker_name` (while `speakers` have names), `channel`.
        """
        return self._snapshots.utterances()

    @property
    def results(self) -> pd.DataFrame:
        """One row for each `Results` message, interims too, in the order that they came.

        Columns: `start`, `end` (s), `transcript`, `is_final`, `confidence` (0 to 1, or NaN), `latency`,
        `finalization_delay`, `churn`, `words` (how many), `channel`, `speech_final`, `from_finalize`, `audio_cursor` (s
        of audio sent when it came, or NaN), `connection` (the first is 0), `received_at` (UTC, to the millisecond).

        - `latency` (s, interims): `audio_cursor` minus `end`, as Deepgram's "Measuring Streaming Latency" defines it.
          Finals have none, because the server holds them back on purpose.
        - `finalization_delay` (s, finals): `audio_cursor` minus `end`: how long after its end a stretch became final.
        - `churn` (finals): how often its words were rewritten while they were interim, divided by the number of words.
          Each interim, and the final, is compared with the interim before it, place by place. A place that has another
          word, or no word any more, was rewritten once. So 0 means that the words that came first stayed, and 0.5 that
          every other word was replaced once. Capitals and punctuation do not count. Words of an interim beyond the
          final's end count for the next final. NaN without an interim before, and for a final without words.
        """
        return self._snapshots.results()

    @property
    def turns(self) -> pd.DataFrame:
        """One row for each turn that Flux ended, numbered over the whole transcript; no rows with other models.

        Columns: `turn`, `start`, `end` (s), `transcript`, `words` (how many), `trigger` (`model`, `manual`, `timeout`;
        `unfinished` where the connection ended first), `end_of_turn_confidence` (0 to 1), `end_of_turn_delay` (s from
        the sending of the last word's end to the arrival of the `EndOfTurn`), `eager_at` (s on the timeline: where the
        last `EagerEndOfTurn` came, or NaN), `resumed` (how many of them were taken back), `received_at` (UTC).
        """
        return self._snapshots.turns()

    @property
    def events(self) -> pd.DataFrame:
        """What happened to the stream, in order of time: opened, closed, warnings, errors, Metadata and the like.

        Columns: `start` (s), `type`, `text`, `at` (UTC, to the millisecond), `request_id` (or NA).

        `start` is where the event belongs on the source's timeline: what a message names (`SpeechStarted`,
        `UtteranceEnd`), where a station said its title, where the audio of a connection begins (`opened`), or else how
        much audio had been sent. It is NaN where a message or a file of an earlier version does not say.

        Example:
            ```python
            words, events = transcript.words.sort_values("start"), transcript.events.sort_values("start")
            pd.merge_asof(words, events, on="start")  # each word with the event before it
            ```
        """
        return self._snapshots.events([*self._events, *self._notes])

    @property
    def gaps(self) -> pd.DataFrame:
        """Audio that was not transcribed, with the reason. As a rule there are no rows.

        Columns: `start`, `end`, `missed` (s), `reason`. A row whose `start` is its `end` marks a moment at which audio
        is missing that was never captured: a live source in a pause, a station that was gone, a machine that slept. It
        takes no time on the source's timeline, and `missed` says how long it was by the clock. In other rows `missed`
        is the length. It is NaN where a file of an earlier version does not say.
        """
        return self._snapshots.gaps(self._gaps)

    def summary(self) -> pd.DataFrame:
        """The figures so far, one row each, with `value` and `unit`; see `dgnb.tables.summary`.

        Duration, speech, gaps and missed (s), words and words per minute, speakers and the share of each, confidence
        (0 to 1), latency of a stream's interims (s), and how many finals, interims and reconnects there are.
        """
        from dgnb import tables

        table = tables.summary(self.words, self.results, self.events, self.gaps)
        if self._answer:
            # Only a stream has a latency.
            table = table[~table.index.str.startswith("latency")]
        if self.cost is not None:
            table.loc["cost", ["value", "unit"]] = round(self.cost, 4), "US$, estimated by dgnb.prices"
        return table

    def pauses(self, longer: float = 0.5) -> pd.DataFrame:
        """One row for each silence of more than `longer` seconds between words of a channel; see `dgnb.tables.pauses`.

        Columns: `start`, `end` (s), `seconds` (its length), `after`, `before` (the words around it), `channel`.
        """
        from dgnb import tables

        return tables.pauses(self.words, longer)

    def speaking_rate(self, window: Any = 60.0) -> pd.DataFrame:
        """One row for each `window`, in seconds or as "1min"; see `dgnb.tables.speaking_rate`.

        The first one contains the first word. Columns: `start`, `end` (s), `words` (how many), `words_per_minute`.
        """
        from dgnb import tables

        return tables.speaking_rate(self.words, window)

    def resample(self, window: Any = 60.0, by: str | None = None) -> pd.DataFrame:
        """One row for each `window`, in seconds or as "1min", from 0 s on; see `dgnb.tables.resample`.

        The index is `start` (s). Columns: `words` (how many), `words_per_minute`, `seconds` (of the words),
        `confidence` (mean), `covered` (s that were transcribed). With `by="speaker"` or another column of `words`, each
        but `covered` is a table with a column for each speaker.
        """
        from dgnb import tables

        return tables.resample(self.words, window, by, gaps=self.gaps, until=self._duration())

    def find(self, phrase: str) -> pd.DataFrame:
        """One row for each place where a phrase of whole words was said; see `dgnb.tables.find`.

        Case, punctuation and the encoding of accents do not matter. Columns: `start`, `end` (s), `text`, `context`
        (with five words on each side), `channel`, `first`, `last` (positions in `words`).
        """
        from dgnb import tables

        return tables.find(self.words, phrase)

    def doubtful(self, below: float = 0.5, join: float = 1.0) -> pd.DataFrame:
        """One row for each stretch of words with a confidence below `below` (0 to 1); see `dgnb.tables.doubtful`.

        Such words at most `join` seconds apart form one stretch. Columns: `start`, `end` (s), `text`, `words` (how
        many), `confidence` (the lowest), `channel`, `first`, `last` (positions in `words`).
        """
        from dgnb import tables

        return tables.doubtful(self.words, below, join)

    def to_srt(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        max_chars: int = 42,
        max_lines: int = 2,
        max_duration: float = 7.0,
        speakers: bool | None = None,
    ) -> str | None:
        """SubRip captions of the finals so far: written to `path`, or returned without one.

        A caption stays for 0.8 s or more, and for 1 s for each 20 columns, unless someone speaks after it. It stays for
        three frames, 0.125 s, anyway. No text is left out.

        Args:
            path: The file, or None for the text.
            max_chars: Columns a line, with the name of who speaks. Wide characters, such as Chinese ones, take two. A
                longer word has a line of its own; in a script without spaces, a line may end at any character.
            max_lines: Lines a caption.
            max_duration: Seconds a caption.
            speakers: Whether to name who speaks, as in `Speaker 0: `. None: if there are several speakers or channels.

        Raises:
            ConfigurationError: A limit that no caption can keep.
        """
        cues = captions.cues(self._words.utterances(), max_chars, max_lines, max_duration, speakers, self.speakers)
        return _deliver(captions.to_srt(cues), path)

    def to_webvtt(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        max_chars: int = 42,
        max_lines: int = 2,
        max_duration: float = 7.0,
        speakers: bool | None = None,
    ) -> str | None:
        """WebVTT captions of the finals so far, as `to_srt`. Voice tags such as `<v Speaker 0>` name who speaks."""
        cues = captions.cues(self._words.utterances(), max_chars, max_lines, max_duration, speakers, self.speakers)
        return _deliver(captions.to_webvtt(cues), path)

    def to_csv(
        self, path: str | os.PathLike[str] | None = None, table: str = "words", *, safe: bool = True
    ) -> str | None:
        """A table as CSV: written to `path`, or returned without one.

        Spreadsheets run text that begins with `=`, `+`, `-`, `@`, a tab or a line break as a formula. `safe` puts a `'`
        before it, in cells and headers, and starts the file with the mark by which spreadsheets recognise UTF-8.
        Numbers stay numbers, with every digit, and missing values are empty. `pandas.read_csv` needs
        `keep_default_na=False`, or it takes words such as "null" for missing ones; `to_parquet` keeps every dtype.

        Args:
            path: The file, or None for the text.
            table: `words`, `utterances`, `turns`, `results`, `events` or `gaps`.
            safe: Make it safe to open in a spreadsheet.
        """
        text = exports.to_csv(getattr(self, exports.known(table)), safe=safe)
        return _deliver(text, path, mark="\ufeff" if safe else "")

    def to_excel(self, path: str | os.PathLike[str], table: str | None = None) -> None:
        """Write all tables as the sheets of an Excel file, or one table.

        Excel has no time zones and refuses moments that have one: they are written in UTC, without it. Text that a
        spreadsheet would run as a formula gets a `'` before it, as in `to_csv`.

        Args:
            path: The file, whose name ends with `.xlsx`.
            table: `words`, `utterances`, `turns`, `results`, `events` or `gaps`; None for all.

        Raises:
            DgnbError: openpyxl is not installed (`pip install openpyxl`), or a table has more rows than a sheet.
        """
        names = exports.TABLES if table is None else (exports.known(table),)
        files.write(path, exports.to_excel({name: getattr(self, name) for name in names}))

    def to_parquet(self, path: str | os.PathLike[str], table: str = "words") -> None:
        """Write a table as Parquet, which keeps its dtypes: `pandas.read_parquet` gives the same table.

        Args:
            path: The file.
            table: `words`, `utterances`, `turns`, `results`, `events` or `gaps`.

        Raises:
            DgnbError: pyarrow is not installed (`pip install 'dgnb[export]'`).
        """
        files.write(path, exports.to_parquet(getattr(self, exports.known(table))))

    def to_textgrid(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """Words and utterances as a Praat TextGrid: written to `path`, or returned without one.

        Each speaker, or channel, has a tier of words and a tier of utterances, from 0 to the end of the audio, in whole
        milliseconds. Praat allows no overlap in a tier: an interval ends where the next one begins.
        """
        grid = exports.to_textgrid(self._words.utterances(), duration=self._duration(), names=self.speakers)
        return _deliver(grid, path)

    def to_rttm(self, path: str | os.PathLike[str] | None = None, *, file_id: str = "audio") -> str | None:
        """Who spoke when, as RTTM, one line for each utterance: written to `path`, or returned without one.

        Args:
            path: The file, or None for the text.
            file_id: The name of the recording, without spaces.

        Raises:
            ConfigurationError: `file_id` is empty or has spaces in it.
        """
        return _deliver(exports.to_rttm(self._words.utterances(), file_id=file_id, names=self.speakers), path)

    def to_deepgram_json(self, path: str | os.PathLike[str] | None = None) -> str | None:
        """All words in the form of Deepgram's answer for a recording: written to `path`, or returned without one.

        Tools for such answers read it: it has `metadata`, `results.channels` and `results.utterances`. Values that a
        stream does not have are empty (`sha256`) or left out (a confidence).
        """
        began, told = None, Metadata()
        for record in self._log.records():
            began = began or datetime.fromtimestamp(record.at / 1e9, UTC).isoformat()
            told = record.message if isinstance(record.message, Metadata) else told
        metadata = structs.replace(told, created=told.created or began, duration=self._duration())
        return _deliver(exports.to_deepgram_json(self._words.utterances(), metadata, self._answer), path)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write every message with its time of arrival as JSON lines. `load` gives an equal transcript.

        The file holds no key.
        """
        notes, gaps, edits = list(self._notes), list(self._gaps), list(self._words.overlay.edits)
        messages = len(self._log)
        head = storage.header(len(notes) + len(gaps) + len(edits) + messages) + storage.dump(notes, gaps, edits)
        files.write(path, chain([head], self._log.lines(0, messages)))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Transcript:
        """Read a file that `save` or a journal wrote.

        A journal is read up to where it breaks off, because its writer may have been killed. A saved file must be
        whole.

        Raises:
            DgnbError: The file can't be read, is not a session file, is of a newer version, is cut short, or is broken.
        """
        transcript = cls()
        try:
            for item in storage.read(path):
                transcript.restore(item)
        except (ValueError, OverflowError) as error:
            raise DgnbError(f"{path} can't be read as a session file: {error} Was it changed by hand?") from error
        transcript._folder = Path(os.fsdecode(path)).parent
        return transcript

    # Helpers

    @cached_property
    def _snapshots(self) -> Snapshots:
        # pandas is loaded when someone asks for a table.
        from dgnb.transcript.snapshots import Snapshots

        return Snapshots(self._log, self._words)

    def _duration(self) -> float:
        """Seconds of audio that finals cover, or that the server received by its own account."""
        return max([self._received, *self._reached.values()])


def _deliver(text: str, path: str | os.PathLike[str] | None, *, mark: str = "") -> str | None:
    """Write text to a file, with a mark before it, or return it."""
    if path is None:
        return text
    files.write(path, mark + text)
    return None
