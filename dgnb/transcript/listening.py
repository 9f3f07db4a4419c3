"""`Listening`: the sound of a transcript, a stretch of it, and the text with its sound."""

from __future__ import annotations

import importlib
import os
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any, Final

from dgnb.audio.file import FileSource
from dgnb.audio.sound import Clip, Sound, stretch
from dgnb.exceptions import ConfigurationError
from dgnb.transcript.card import Card
from dgnb.transcript.records import Edit, writable
from dgnb.values import native, number

if TYPE_CHECKING:
    from dgnb.transcript.words import WordLog
    from dgnb.widgets.player import Player

NO_SOUND: Final = (
    "This transcript has no sound. That of a stream is kept with record=True, from when it opens on. If you have it "
    "as a file, say where: transcript.audio = path."
)
_AROUND: Final = 30.0  # Seconds that a player shows before and after what it plays


class Listening(Card):
    """A transcript that is heard."""

    _words: WordLog
    _sound: Sound | None = None
    _folder = Path()  # Where the session file lies from which it was loaded

    @property
    def audio(self) -> Sound | None:
        """The sound that was transcribed, or None where it is not kept.

        A file or a buffer is its own recording. `record=` keeps the sound of a stream. You can set it to what `Sound`
        takes, such as a path, and to None. A session file names the file of the sound, which `Transcript.load` finds
        where it was, or below the folder of the session file.

        Raises:
            ConfigurationError: What you set can't be heard again, or ends more than a second before the last word.
            AudioError: It can't be opened or decoded. Without words, this is told when it is to be heard.
        """
        if self._sound is None and (named := self._words.overlay.audio):
            # The session file may come from Windows, whose names this class reads, as well as others.
            parts = PureWindowsPath(named).parts
            below = [self._folder.joinpath(*parts[first:]) for first in range(1, len(parts))]
            path = next((path for path in (Path(named), *below) if os.path.isfile(path)), Path(named))
            self._sound = Sound(FileSource(path))
        return self._sound

    @audio.setter
    def audio(self, sound: Any) -> None:
        sound = sound if sound is None or isinstance(sound, Sound) else Sound(sound)
        if sound and self.word_count:
            sound.lasts(self._words.end)
        self._sound = sound
        # How raw samples are read, and which track, stands in no session file.
        name = writable(str(sound.path.absolute())) if sound and sound.path and sound.plain else ""
        if name != self._words.overlay.audio:
            self._words.overlay.take(Edit(audio=name))

    def clip(self, start: Any, end: float | None = None, *, pad: float = 0.0) -> Clip:
        """The sound of a stretch: the bytes of a WAV file, which a notebook shows with a play button.

        Args:
            start: A row with `start` and `end`, of `words`, `utterances`, `find()`, `doubtful()` or another table; or
                seconds.
            end: Seconds. None with a row.
            pad: Seconds before and after the stretch.

        Raises:
            ConfigurationError: There is no sound, or no such stretch of it.
            AudioError: The sound can't be opened or decoded.

        Example:
            ```python
            transcript.clip(transcript.find("good morning").iloc[0], pad=0.5)
            transcript.clip(12.0, 15.5)
            ```
        """
        sound = self.audio
        if sound is None:
            raise ConfigurationError(NO_SOUND)
        start, end = stretch(start, end, number("pad is a number of seconds from 0 on", pad, 0.0))
        return sound.wav(start, end)

    def player(
        self,
        start: float | None = None,
        end: float | None = None,
        *,
        audio_url: str | None = None,
        height: str = "32em",
    ) -> Player:
        """The words under a sound bar, as the value of a cell: click one and hear it. See `dgnb.widgets.Player`.

        It takes some seconds for an hour. While a session runs, the kernel sends the sound of what is clicked instead.

        Args:
            start: Seconds at which it begins, or None.
            end: Seconds at which it ends, or None.
            audio_url: An address, or a path relative to the page, of the sound of the whole timeline. None puts the
                sound into the page, up to 25 MB, which is about 75 minutes.
            height: CSS height.

        Raises:
            ConfigurationError: There is no sound, no such stretch, or too much for a page.
            AudioError: The sound can't be opened or decoded.

        Example:
            ```python
            transcript.player().to_html("talk.html")
            ```
        """
        return self._player(start, end, audio_url=audio_url, height=height)

    def play(self, start: Any, end: float | None = None) -> Player:
        """A player of a stretch, with 30 s before and after it, that plays at once where the browser lets it.

        It takes a row, or seconds, as `clip` does, and raises the same errors. Without `end` it plays on from `start`.
        """
        plays_on = end is None and isinstance(start := native(start), int | float)
        start, end = stretch(start, start + _AROUND if plays_on else end)
        return self._player(max(0.0, start - _AROUND), end + _AROUND, place=(start, None if plays_on else end))

    def _player(self, *given: Any, **how: Any) -> Player:
        # Of a room above this one, which loads widgets.
        player: Player = importlib.import_module("dgnb.widgets").Player(self, *given, **how)
        return player
