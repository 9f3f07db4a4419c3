"""`compare()`: the same sound, heard once by several. `Comparison`: what they made of it."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Mapping
from typing import Any, Final

from dgnb.audio import Sound, as_source
from dgnb.audio.sound import again
from dgnb.comparison.hearing import Hearing
from dgnb.comparison.references import Reference, named, referred
from dgnb.comparison.report import Comparison, checked
from dgnb.comparison.runs import Way, way_of
from dgnb.comparison.texts import Normalize, english, plain
from dgnb.endpoints import hide
from dgnb.exceptions import ConfigurationError, nearest
from dgnb.notices import clock, escaped, quiet
from dgnb.recordings import transcribe_file
from dgnb.session import LiveSession
from dgnb.session.progress import shown
from dgnb.transcript import Transcript
from dgnb.values import ABOVE_0, number

__all__ = ["Comparison", "compare"]

_FORMAT: Final = ("encoding", "sample_rate", "channels")
_TAKEN: Final = {
    *("normalize", *inspect.get_annotations(LiveSession.__init__), *inspect.get_annotations(transcribe_file)),
} - {"source", "options", "wire", "return"}
_AFTER: Final = 2.0  # Seconds of a transcript after the end of its sound: more is of other sound


async def compare(source: Any, runs: Mapping[str, Any], reference: Reference = None, **settings: Any) -> Comparison:
    """Let several runs hear the same sound at once, and compare what they make of it.

    The source is opened once. A run that fails is a row of `summary` with its `error`, and the others go on. Stop ends
    the sound, and each run finishes. Cancelling it ends all runs; `dgnb.sessions()` has what live ones heard.

    Args:
        source: As in `LiveSession`. What is heard is kept in memory: 115 MB an hour.
        runs: Each run by name: `LiveOptions`, `FluxOptions` or a dict of options for a live stream;
            `PrerecordedOptions` for a recording; an endpoint, such as `"offline"` or a `ws://` address; a pair of
            options and an endpoint; a `Transcript`, or the path of a session file; or a function, async or not, that
            takes the `Sound` and gives a `Transcript`, a text, or words: a table or dicts with `word`, `start`, `end`.
        reference: What was really said, as in `Comparison`.
        **settings: Further arguments of `LiveSession` and `transcribe_file`, such as `endpoint` or `pace`, each for the
            runs that take it (so `max_cost` is that of each run); and `normalize`.

    Raises:
        ConfigurationError: Source, runs, reference or settings are wrong. As a rule nothing was opened.
        AudioError: The source can't be opened.
        DgnbError: All runs failed: the error of the first one.

    Example:
        ```python
        runs = {"plain": {}, "smart": {"smart_format": True}, "recorded": dgnb.PrerecordedOptions()}
        comparison = await dgnb.compare("talk.wav", runs, reference="talk.txt")
        comparison.summary
        ```
    """
    hide(settings)
    checked(normalize := settings.pop("normalize", None))
    hearing, ways = _ways(source, runs, settings)
    is_run = isinstance(reference, str) and reference in ways
    against = None if is_run else referred(reference, ways)
    _check(ways, against, normalize, nothing=len(ways) + (against is not None) < 2)
    heard = await _heard(hearing, ways, against, settings.get("progress"))
    failed = {name: error for name, error in heard.items() if isinstance(error, Exception)}
    if len(failed) == len(ways):
        raise next(iter(failed.values()))
    done = {name: transcript for name, transcript in heard.items() if name not in failed}
    told: dict[str, Any] = {n: {"cost": way.cost(hearing)} for n, way in ways.items() if isinstance(way, Way)}
    told |= {name: {"error": str(error) or repr(error)} for name, error in failed.items()}
    if is_run and reference in done and done[str(reference)].word_count:
        against = reference
    elif is_run:
        told.setdefault(str(reference), {}).setdefault("error", "It heard no words: nothing is compared with it.")
    return Comparison(done, against, told=told, normalize=normalize or _rule(ways))


def _ways(source: Any, runs: Any, settings: dict[str, Any]) -> tuple[Hearing, dict[str, Way | Transcript]]:
    """The source and the runs, checked."""
    for name in settings.keys() - _TAKEN:
        hint = nearest(name, sorted(_TAKEN)) or " Options go into the runs, as {'a': {'smart_format': True}}."
        raise ConfigurationError(f"compare() has no argument {name!r}.{hint}")
    if wrong := settings.keys() & {"journal", "record"}:
        raise ConfigurationError(f"compare() makes several transcripts: leave out {min(wrong)}, and save() them.")
    given = as_source(source, **{name: settings.pop(name) for name in _FORMAT if name in settings})
    if (duration := settings.pop("duration", None)) is not None:
        duration = number("duration is a positive number of seconds", duration, ABOVE_0)
    hearing = Hearing(given, duration)
    return hearing, {name: way_of(name, run, hearing, settings) for name, run in named(runs).items()}


def _rule(ways: Mapping[str, Any]) -> Normalize | None:
    """How words are compared where the options name a language that is not English."""
    languages = [getattr(way.options, "language", None) for way in ways.values() if isinstance(way, Way)]
    return None if all(map(english, languages)) else plain


def _check(ways: Mapping[str, Any], against: Any, normalize: Any, *, nothing: bool) -> None:
    """Refuse before any I/O what can't be compared."""
    if nothing:
        raise ConfigurationError("There is nothing to compare with: give a second run, or a reference.")
    saved = {name: way for name, way in ways.items() if isinstance(way, Transcript)}
    if saved and len(saved) + (against is not None) > 1:
        Comparison(saved, against, normalize=normalize)
    if len({bool(way.options.multichannel) for way in ways.values() if isinstance(way, Way) and way.taps}) > 1:
        raise ConfigurationError("All runs hear the same sound: set multichannel in all of them, or in none.")


async def _heard(hearing: Hearing, ways: Mapping[str, Any], against: Any, progress: bool | None) -> dict[str, Any]:
    """What each run makes of the sound, or its error, in the order of the runs."""
    heard: dict[str, Any] = {}

    async def attempt(name: str, way: Way | Transcript) -> None:
        try:
            heard[name] = way if isinstance(way, Transcript) else await way.run()
        except Exception as error:
            heard[name] = error

    apart = any(way.options.multichannel for way in ways.values() if isinstance(way, Way) and way.taps)
    async with hearing.begun(multichannel=apart) as audio:
        for transcript in [*ways.values(), against]:
            last = float(transcript.words["end"].max()) if isinstance(transcript, Transcript) else 0.0
            if audio.length and last > audio.length + _AFTER:
                raise ConfigurationError(
                    f"{hearing.name} lasts {audio.length:.1f} s, and a transcript has words up to {last:.1f} s: it is "
                    "of other sound. Give that of this recording."
                )
        async with shown(_Course(hearing, ways, heard), progress, hearing.stop), asyncio.TaskGroup() as group:
            for name, way in ways.items():
                group.create_task(attempt(name, way), name=f"dgnb: run {name!r}")
    with contextlib.suppress(Exception):  # A source that broke off is an error of its runs.
        sound = Sound(hearing.source) if again(hearing.source) else await hearing.whole()
        for transcript in heard.values():
            if isinstance(transcript, Transcript) and transcript.audio is None:
                await asyncio.to_thread(setattr, transcript, "audio", sound)
    return {name: heard[name] for name in ways}


class _Course:
    """How far the runs are: what `shown` takes."""

    def __init__(self, hearing: Hearing, ways: Mapping[str, Any], heard: Mapping[str, Any]) -> None:
        self._hearing, self._ways, self._heard = hearing, ways, heard

    def status(self) -> str:
        """As "0:12 of 1:00 heard · running: plain, smart"."""
        length = self._hearing.audio.length if self._hearing.audio else None
        run = ", ".join(name for name in self._ways if name not in self._heard)
        return f"{clock(self._hearing.seconds)}{f' of {clock(length)}' if length else ''} heard · running: {run}"

    def markup(self) -> str:
        """The same as HTML."""
        return quiet(escaped(self.status()))

    def outcome(self, took: float) -> str:
        """How many runs there were."""
        return f"{len(self._ways)} runs in {took:.1f} s · comparison.summary"
