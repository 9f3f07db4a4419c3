"""`Overlay`: what a person changes of a transcript: the names of speakers. The messages stay as they came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from dgnb.exceptions import ConfigurationError
from dgnb.transcript.records import Edit, writable
from dgnb.values import native, whole
from dgnb.writing import one_line

if TYPE_CHECKING:
    from dgnb.transcript.words import WordLog

_NUMBER: Final = "A speaker is a whole number of at least 0, as in the column speaker"
_LONGEST: Final = 100
"""Characters of a name: captions and plots have no room for more."""


class Overlay:
    """The changes that a person made, in order, and what they come to."""

    def __init__(self) -> None:
        self.edits: list[Edit] = []
        self.names: dict[Any, str] = {}
        self.audio = ""

    def take(self, edit: Edit) -> None:
        """Make a change, and keep it for session files; `ConfigurationError` where it can't be made."""
        if edit.audio is not None:
            self.audio = edit.audio
        else:
            speaker = whole(_NUMBER, edit.speaker, 0)
            if edit.name is None:
                self.names.pop(speaker, None)
            else:
                self.names[speaker] = _name(edit.name)
        self.edits.append(edit)


class Speakers(MutableMapping[Any, str]):
    """The names of speakers by their number: see `Transcript.speakers`."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay

    def __getitem__(self, speaker: Any) -> str:
        return self._overlay.names[speaker]

    def __setitem__(self, speaker: Any, name: str) -> None:
        self._overlay.take(Edit(whole(_NUMBER, speaker, 0), _name(name)))

    def __delitem__(self, speaker: Any) -> None:
        del self._overlay.names[speaker]
        self._overlay.take(Edit(whole(_NUMBER, speaker, 0)))

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(self._overlay.names))

    def __len__(self) -> int:
        return len(self._overlay.names)

    def __repr__(self) -> str:
        return repr(dict(self))


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
