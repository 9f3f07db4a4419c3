"""`Overlay`: what a person changes of a transcript: speakers and words. The messages stay as they came."""

from __future__ import annotations

import itertools
from collections import UserDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from dgnb.exceptions import ConfigurationError
from dgnb.messages import Word
from dgnb.transcript.records import Edit, writable
from dgnb.values import native, whole
from dgnb.writing import is_spaced, one_line, spread

if TYPE_CHECKING:
    from dgnb.transcript.words import WordLog

_NUMBER: Final = "A speaker is a whole number of at least 0, as in the column speaker"
_LONGEST: Final = 100  # Characters of a name: captions and plots have no room for more


class Overlay:
    """The changes that a person made, in order, and what they come to."""

    def __init__(self) -> None:
        self.edits: list[Edit] = []
        self.names: dict[Any, str] = {}
        self.audio = ""
        self.merged: dict[Any, int] = {}
        self.corrected: dict[int, tuple[Sequence[int], str]] = {}
        """By place: the stretch of places that has a text in their stead."""

    def take(self, edit: Edit) -> None:
        """Make a change, and keep it for session files; `ConfigurationError` where it can't be made."""
        if edit.audio is not None:
            self.audio = edit.audio
        elif edit.places:
            self._correct(edit.places, edit.text)
        elif edit.into is not None:
            self._merge(whole(_NUMBER, edit.speaker, 0), whole(_NUMBER, edit.into, 0))
        elif edit.name is None:
            self.names.pop(whole(_NUMBER, edit.speaker, 0), None)
        else:
            self.names[whole(_NUMBER, edit.speaker, 0)] = _name(edit.name)
        self.edits.append(edit)

    def _merge(self, speaker: int, into: int) -> None:
        if speaker == into:
            self.merged.pop(speaker, None)
        elif self.one(into, speaker) == speaker:
            undo = f"Take that back first: merge_speakers({into}, into={into})."
            raise ConfigurationError(f"Speaker {into} is merged into {speaker} already. {undo}")
        else:
            self.merged[speaker] = into

    def _correct(self, places: Sequence[int], text: str | None) -> None:
        # A stretch that was corrected before is one place.
        before = {known[0][0]: known[0] for place in places if (known := self.corrected.get(place))}
        stretch = sorted({*places, *itertools.chain.from_iterable(before.values())})
        tokens = (text or "").split()
        for number, place in enumerate(stretch):
            self.corrected.pop(place, None)
            if text is not None:
                each = len(tokens) == len(stretch)
                self.corrected[place] = ((place,), tokens[number]) if each else (stretch, text)

    def one(self, speaker: Any, until: int | None = None) -> Any:
        """The speaker that one is merged into, or themselves."""
        while speaker != until and speaker in self.merged:
            speaker = self.merged[speaker]
        return speaker

    def applied(self, words: Sequence[Word], first: int, last: int | None) -> tuple[Sequence[int], Sequence[Word]]:
        """The words from place `first` up to `last` as a person changed them, and the place of each."""
        read = words[first:last]
        places: Sequence[int] = range(first, first + len(read))
        if corrected := self.corrected:
            said = [self._written(place, words) if place in corrected else (words[place],) for place in places]
            places = [place for place, shown in zip(places, said, strict=True) for _ in shown]
            read = list(itertools.chain.from_iterable(said))
        if merged := self.merged:
            read = [replace(word, speaker=self.one(s)) if (s := word.speaker) in merged else word for word in read]
        return places, read

    def _written(self, place: int, words: Sequence[Word]) -> tuple[Word, ...]:
        stretch, text = self.corrected[place]
        if stretch[-1] >= len(words):
            # A journal that was cut short.
            return (words[place],)
        if place > stretch[0]:
            return ()
        old = [words[one] for one in stretch]
        start, end = min(word.start for word in old), max(word.end for word in old)
        new = spread(text, start, max(start, end), is_spaced(old[0]))
        told = {"speaker": old[0].speaker, "language": old[0].language, "corrected": True, "estimated": len(new) > 1}
        return tuple(replace(word, **told) for word in new)


class Speakers(UserDict[Any, str]):
    """The names of speakers by their number: see `Transcript.speakers`."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay
        self.data = overlay.names

    def __setitem__(self, speaker: Any, name: str) -> None:
        self._overlay.take(Edit(whole(_NUMBER, speaker, 0), _name(name)))

    def __delitem__(self, speaker: Any) -> None:
        if speaker not in self:
            raise KeyError(speaker)
        self._overlay.take(Edit(whole(_NUMBER, speaker, 0)))


class Edited:
    """A transcript as far as a person changes it."""

    _words: WordLog

    @property
    def speakers(self) -> Speakers:
        """The names of speakers by their number: for every table, picture, caption, export, and session files.

        `words` and `utterances` have a column `speaker_name` while there is a name. A number that has not spoken yet is
        fine. A name has up to 100 characters, on one line. Deepgram's JSON has no place for it. With several channels,
        it is that of the number on each. `ConfigurationError` for what is no number or no name; no name is changed.

        Example:
            ```python
            transcript.speakers = {0: "Ada", 1: "Grace"}
            transcript.speakers[2] = "Edsger"
            ```
        """
        return Speakers(self._words.overlay)

    @speakers.setter
    def speakers(self, names: Mapping[int, str]) -> None:
        if not isinstance(names, Mapping):
            raise ConfigurationError(f"speakers are names by number, such as {{0: 'Ada'}}, not {names!r:.200}.")
        wanted = {whole(_NUMBER, speaker, 0): _name(name) for speaker, name in names.items()}
        for speaker in set(self.speakers) - set(wanted):
            del self.speakers[speaker]
        self.speakers.update(wanted)

    def merge_speakers(self, speaker: int, into: int) -> None:
        """Take a speaker for another one in every table, picture, caption and export, and in session files.

        Utterances stay as they are, and so do names. `merge_speakers(2, into=2)` makes 2 a speaker again.
        `ConfigurationError` for what is no number, or where `into` is merged into `speaker`.

        Example:
            ```python
            transcript.merge_speakers(2, into=0)
            ```
        """
        self._words.overlay.take(Edit(whole(_NUMBER, speaker, 0), into=whole(_NUMBER, into, 0)))

    def correct(self, row: Any, text: str | None) -> None:
        """Replace words by what was really said: in `text`, `words`, `utterances`, every export, and session files.

        As many words as before keep their times. Otherwise they share the time of the stretch by their width, and
        speaker and utterance are those of its first word. Corrected words have no confidence, which is the
        recogniser's; the column `corrected` of `words` marks them. The index of `words` still counts those that were
        recognised, so that a correction moves no other word: several words at one place have the same label.

        Args:
            row: A label of `words`, a pair of labels for a stretch of a channel, or a row of `words`, `utterances`,
                `find()` or `doubtful()`. A corrected stretch counts as a whole.
            text: The words, "" for none, or None to take a correction back.

        Raises:
            ConfigurationError: There are no such words, or `text` is no text. Nothing is changed then.

        Example:
            ```python
            transcript.correct(17, "Lovelace")
            transcript.correct(transcript.find("a the lovelace").iloc[0], "Ada Lovelace")
            ```
        """
        if not (text is None or isinstance(text := native(text), str)):
            raise ConfigurationError(f"text is what was said, or None to take a correction back, not {text!r:.200}.")
        self._words.overlay.take(Edit(places=self._words.places(row), text=text and one_line(writable(text))))

    @property
    def revision(self) -> int:
        """Internal: how many changes a person has made."""
        return len(self._words.overlay.edits)

    def voice(self, speaker: int | None, unnamed: str) -> str:
        """Internal: the name of a speaker, or else `unnamed` with their number, or "" where nobody knows."""
        return "" if speaker is None else self._words.overlay.names.get(speaker, f"{unnamed} {speaker}")


def _name(given: Any) -> str:
    name = one_line(writable(text)) if isinstance(text := native(given), str) else ""
    if not 0 < len(name) <= _LONGEST:
        raise ConfigurationError(f"The name of a speaker is text of 1 to {_LONGEST} characters, not {given!r:.200}.")
    return name
