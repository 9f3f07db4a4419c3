"""`replay()`: a saved session again."""

from __future__ import annotations

import os

from dgnb.exceptions import ConfigurationError, Shallow
from dgnb.session.live import LiveSession
from dgnb.session.playback import Saved
from dgnb.transcript import Transcript, storage
from dgnb.values import ABOVE_0, native, number

__all__ = ["replay"]


def replay(session: Transcript | str | os.PathLike[str], speed: float | None = 1.0) -> LiveSession:
    """A saved session again, with its timing: for captions, the panel and your own code, without a server or a key.

    It is a `LiveSession` that you start, pause, stop, await and iterate. Its `transcript` begins empty. Messages,
    events and gaps come in the order and at the distances in time at which they came. At the end each table is that of
    `Transcript.load`, also in `received_at`. More than 10 s in which nothing came are cut to 10 s. Cancelling an
    `await` stops the waiting only. `finalize()`, `apply()` and `retry()` raise `ConfigurationError`.

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
    with Shallow():
        if speed is not None:
            speed = number("speed is a positive number, or None for as fast as it goes", speed, ABOVE_0)
        if isinstance(session, str | os.PathLike):
            next(storage.read(session), None)
        elif not isinstance(session, Transcript):
            kind = type(session).__name__
            raise ConfigurationError(f"replay() takes the path of a session file, or a Transcript, not {kind}.")
        return LiveSession(Saved(session, speed))
