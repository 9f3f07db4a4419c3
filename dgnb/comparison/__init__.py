"""`compare()`: the same sound, heard once by several. `Comparison`: what they made of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from dgnb.audio import AudioSource, Sound, as_source
from dgnb.audio.sound import again
from dgnb.comparison.hearing import Hearing
from dgnb.comparison.references import Reference, named, referred
from dgnb.comparison.report import Comparison, checked
from dgnb.comparison.runs import Way, way_of
from dgnb.endpoints import hide
from dgnb.exceptions import ConfigurationError
from dgnb.notices import clock, escaped, quiet
from dgnb.session.progress import shown
from dgnb.transcript import Transcript
from dgnb.values import ABOVE_0, number

__all__ = ["Comparison", "compare"]

_FORMAT: Final = ("encoding", "sample_rate", "channels")
_RULES: Final = ("normalize", "collar")
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
        **settings: Further arguments of `LiveSession`, such as `endpoint` or `pace`, for all runs; and `normalize` and
            `collar` of `Comparison`.

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
    plan = _planned(source, runs, reference, settings)
    heard = await _heard(plan)
    failed = {name: error for name, error in heard.items() if isinstance(error, Exception)}
    if len(failed) == len(plan.live) and not plan.saved:
        raise next(iter(failed.values()))
    done = {name: heard[name] if name in heard else plan.saved[name] for name in plan.names if name not in failed}
    await _give_sound(plan, done)
    about: dict[str, dict[str, Any]] = {name: {"cost": way.cost(plan.hearing)} for name, way in plan.live.items()}
    about |= {name: {"error": str(error) or repr(error)} for name, error in failed.items()}
    against: Any = plan.reference
    if isinstance(reference, str) and reference in plan.names:
        against = reference if reference in done and done[reference].word_count else None
        if against is None:
            about.setdefault(reference, {}).setdefault("error", "It heard no words, so nothing is compared with it.")
    return Comparison(done, against, told=about, **plan.told)


class _Plan(NamedTuple):
    """What is to be done. `reference` is None where it is a run; `told` are arguments of `Comparison`."""

    source: AudioSource
    hearing: Hearing
    live: dict[str, Way]
    saved: dict[str, Transcript]
    reference: Any
    names: list[str]
    multichannel: bool
    progress: bool | None
    told: dict[str, Any]


def _planned(source: Any, runs: Any, reference: Any, settings: dict[str, Any]) -> _Plan:
    """Check all that can be checked before any I/O."""
    if wrong := settings.keys() & {"journal", "record"}:
        raise ConfigurationError(f"compare() makes several transcripts: leave out {min(wrong)}, and save() them.")
    told: dict[str, Any] = {name: settings.pop(name) for name in _RULES if name in settings}
    checked(**told)
    given = as_source(source, **{name: settings.pop(name) for name in _FORMAT if name in settings})
    progress, duration = settings.pop("progress", None), settings.pop("duration", None)
    if duration is not None:
        duration = number("duration is a positive number of seconds", duration, ABOVE_0)
    hearing, runs = Hearing(given, duration), named(runs)
    found = referred(reference, runs)
    found = None if isinstance(reference, str) and reference in runs else found
    if len(runs) + (found is not None) < 2:
        raise ConfigurationError("There is nothing to compare with: give a second run, or a reference.")
    file = given if again(given) and duration is None else None
    ways = {name: way_of(name, run, hearing, file, settings) for name, run in runs.items()}
    saved = {name: way for name, way in ways.items() if isinstance(way, Transcript)}
    if saved and len(saved) + (found is not None) > 1:
        Comparison(saved, found, **told)
    live = {name: way for name, way in ways.items() if isinstance(way, Way)}
    return _Plan(given, hearing, live, saved, found, list(runs), _multichannel(live), progress, told)


def _multichannel(live: dict[str, Way]) -> bool:
    """Whether the runs hear the channels of the source apart."""
    apart = {bool(way.options.multichannel) for way in live.values() if way.taps}
    if len(apart) > 1:
        raise ConfigurationError("All runs hear the same sound: set multichannel in all of them, or in none.")
    return True in apart


async def _heard(plan: _Plan) -> dict[str, Any]:
    """What each run makes of the sound, or its error."""
    heard: dict[str, Any] = {}

    async def attempt(name: str, way: Way) -> None:
        try:
            heard[name] = await way.run()
        except Exception as error:
            heard[name] = error

    if not plan.live:
        return heard
    hearing = plan.hearing
    audio = await hearing.open(multichannel=plan.multichannel)
    try:
        for transcript in [*plan.saved.values(), plan.reference]:
            last = float(transcript.words["end"].max()) if isinstance(transcript, Transcript) else 0.0
            if audio.length and last > audio.length + _AFTER:
                raise ConfigurationError(
                    f"{hearing.name} lasts {audio.length:.1f} s, and a transcript has words up to {last:.1f} s: it is "
                    "of other sound. Give that of this recording."
                )
        course = _Course(hearing, plan.live, heard)
        async with shown(course, plan.progress, hearing.stop), asyncio.TaskGroup() as group:
            for name, way in plan.live.items():
                group.create_task(attempt(name, way), name=f"dgnb: run {name!r}")
    finally:
        await hearing.close()
    return heard


async def _give_sound(plan: _Plan, done: Mapping[str, Transcript]) -> None:
    """Let transcripts be heard that have no sound of their own."""
    with contextlib.suppress(Exception):  # A source that broke off is an error of its runs.
        sound = Sound(plan.source) if again(plan.source) else await plan.hearing.whole()
        for transcript in done.values():
            if transcript.audio is None:
                await asyncio.to_thread(setattr, transcript, "audio", sound)


class _Course:
    """How far the runs are."""

    def __init__(self, hearing: Hearing, live: Mapping[str, Any], heard: Mapping[str, Any]) -> None:
        self._hearing, self._live, self._heard = hearing, live, heard

    def status(self) -> str:
        """As "0:12 of 1:00 heard · running: plain, smart"."""
        length = self._hearing.audio.length if self._hearing.audio else None
        run = ", ".join(name for name in self._live if name not in self._heard)
        return f"{clock(self._hearing.seconds)}{f' of {clock(length)}' if length else ''} heard · running: {run}"

    def markup(self) -> str:
        """The same as HTML."""
        return quiet(escaped(self.status()))

    def outcome(self, took: float) -> str:
        """How many runs there were."""
        return f"{len(self._live)} runs in {took:.1f} s · comparison.summary"
