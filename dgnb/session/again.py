"""`replay()`: a saved session again. `fill_gaps()`: the sound of `gaps` sent again."""

from __future__ import annotations

import asyncio
import os
from typing import Any

from msgspec import structs

from dgnb.audio import SAMPLE_RATE
from dgnb.endpoints import hide
from dgnb.exceptions import ConfigurationError
from dgnb.messages import Results
from dgnb.session.heard import UNHEARD
from dgnb.session.live import LiveSession, transcribe
from dgnb.session.playback import Saved
from dgnb.session.registry import sessions
from dgnb.session.stream import State
from dgnb.transcript import Gap, Record, Transcript, storage
from dgnb.transcript.listening import NO_SOUND
from dgnb.transcript.turns import heard_in
from dgnb.values import ABOVE_0, native, number

__all__ = ["fill_gaps", "replay"]


def replay(session: Transcript | str | os.PathLike[str], speed: float | None = 1.0) -> LiveSession:
    """A saved session again, with its timing: for captions, the panel and your own code, without a server or a key.

    It is a `LiveSession` that you start, pause, stop, await and iterate; cancelling an `await` stops the waiting only.
    Its `transcript` begins empty. Messages, events and gaps come in the order and at the distances in time at which
    they came; more than 10 s in which nothing came are cut to 10 s. At the end each table is that of `Transcript.load`,
    also in `received_at`. `finalize()`, `apply()` and `retry()` raise `ConfigurationError`.

    Args:
        session: The path of a file that `save()` or a journal wrote, or a `Transcript`. A journal is replayed up to
            where it breaks off.
        speed: Seconds of the saved session a second: 2.0 is twice as fast. None: as fast as it goes.

    Raises:
        ConfigurationError: `speed` is wrong, or `session` is neither a path nor a `Transcript`.
        DgnbError: The file can't be read, or is not a session file. Where it breaks off later, `await` raises it.

    Example:
        ```python
        dgnb.LiveCaptions(dgnb.replay("talk.jsonl", speed=4))
        transcript = await dgnb.replay("talk.jsonl", speed=None)
        ```
    """
    session = native(session)
    if speed is not None:
        speed = number("speed is a positive number, or None for as fast as it goes", speed, ABOVE_0)
    if isinstance(session, str | os.PathLike):
        next(storage.read(session), None)
    elif not isinstance(session, Transcript):
        kind = type(session).__name__
        raise ConfigurationError(f"replay() takes the path of a session file, or a Transcript, not {kind}.")
    return LiveSession(Saved(session, speed))


_filling: set[Transcript] = set()


async def fill_gaps(transcript: Transcript, options: Any = None, **settings: Any) -> Transcript:
    """Send the sound of `transcript.gaps` again, and put its words into the transcript, at their times.

    The sound is `transcript.audio`, mixed to one channel; `transcribe(transcript.audio)` sends all of it. Each row that
    has sound is sent by itself. When it is transcribed, it is no row of `gaps` any more, and an event `filled` tells of
    it. Its words stand at the end of `words`, as they came last. An error, and cancelling, leave the other rows there.

    Args:
        transcript: A loaded one, or that of a session that has ended.
        options: What to ask for; or options by name.
        **settings: Further arguments of `LiveSession`, such as `endpoint`.

    Raises:
        ConfigurationError: There is no sound, no row that has sound, a session that still runs, or a wrong argument.
        DgnbError: What `transcribe` raises.

    Example:
        ```python
        await dgnb.fill_gaps(transcript, model="nova-3")
        ```
    """
    hide(settings)
    if not isinstance(transcript, Transcript):
        raise ConfigurationError("fill_gaps() takes a Transcript: dgnb.Transcript.load(path) gives one.")
    if (sound := transcript.audio) is None:
        raise ConfigurationError(NO_SOUND)
    if any(session.transcript is transcript and session.state is not State.CLOSED for session in sessions()):
        raise ConfigurationError("The session still fills this transcript: `await session.stop()` first.")
    if wrong := settings.keys() & {"duration", "journal", "record"}:
        raise ConfigurationError(f"fill_gaps() sends the gaps and nothing else: leave out {min(wrong)}.")
    if transcript in _filling:
        raise ConfigurationError("Another fill_gaps() fills this transcript: await that one.")
    gaps, filled = transcript.gaps, 0
    rows: Any = gaps[gaps["end"] > gaps["start"]].itertuples()
    _filling.add(transcript)
    try:
        for gap in rows:
            samples = await asyncio.to_thread(sound.samples, gap.start, gap.end)
            if len(samples) >= (gap.end - gap.start - UNHEARD) * SAMPLE_RATE:
                _fill(transcript, gap, await transcribe((SAMPLE_RATE, samples), options, **settings))
                filled += 1
    finally:
        _filling.remove(transcript)
    if not filled:
        raise ConfigurationError(
            f"{sound.name} has no row of transcript.gaps as a whole ({gaps['missed'].sum():.1f} s), so nothing was "
            "sent. What was never captured, as in a pause, is in no recording."
        )
    return transcript


def _fill(transcript: Transcript, gap: Any, part: Transcript) -> None:
    """Put what was heard in a gap in its place. An utterance ends with it, as what comes next is elsewhere."""
    connection = int(transcript.events["type"].isin(["opened", "filled"]).sum())
    transcript.withdraw_gap(gap.start, gap.end, gap.reason)
    finals = []
    for item in part.items():
        if isinstance(item, Gap):
            transcript.add_gap(gap.start + item.start, gap.start + item.end, item.reason)
        elif isinstance(item, Record) and (heard := heard_in(item.message)) and heard.is_final:
            finals.append(item)
    for at, message, offset, *_ in map(structs.astuple, finals):
        if isinstance(message, Results) and message is finals[-1].message:
            message = structs.replace(message, speech_final=True)
        transcript.feed(message, at=at, offset=gap.start + offset, connection=connection)
    transcript.note("filled", f"{gap.start:.3f} to {gap.end:.3f} s: {part.word_count} words", start=gap.start)
