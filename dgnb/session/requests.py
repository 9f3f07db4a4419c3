"""What an open session can ask its server for: to finalize, and other options."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import Final

from dgnb.connection import Connection
from dgnb.exceptions import ConfigurationError, ConnectionLost
from dgnb.messages import Warning
from dgnb.options import StreamOptions
from dgnb.pricing import limit_seconds
from dgnb.session.link import READ
from dgnb.session.runner import Runner, running_loop
from dgnb.session.stream import ONCE, Change, State
from dgnb.transcript.turns import heard_in

_ANSWER: Final = 2.0  # s for an answer. Deepgram does not promise one to Finalize.
_NO_TURN: Final = "FORCE_END_TURN_NO_ACTIVE_TURN"


async def finalize(runner: Runner) -> bool:
    """See `LiveSession.finalize`."""
    connection, transcript = _connection(runner), runner.stream.transcript
    seen = transcript.count

    def answer() -> bool | None:
        """What has answered: a confirmation, or that there was no turn to end; None for nothing."""
        said = transcript.since(seen)
        if any(heard.from_finalize for heard in filter(None, map(heard_in, said))):
            return True
        return False if any(isinstance(one, Warning) and one.code == _NO_TURN for one in said) else None

    # The stream reports a lost connection.
    with contextlib.suppress(TimeoutError, ConnectionLost):
        async with asyncio.timeout(_ANSWER):
            await connection.finalize()
            await runner.wait_until(lambda: answer() is not None or runner.closed)
        return bool(answer())
    # It may lie in the socket, where the process was frozen meanwhile.
    await asyncio.sleep(READ)
    return bool(answer())


async def apply(runner: Runner, options: StreamOptions) -> None:
    """See `LiveSession.apply`."""
    stream = runner.stream
    if running_loop() is not runner.loop:
        raise ConfigurationError("Options are applied in the loop that the session runs in: here another one runs.")
    _connection(runner)
    if stream.change is not None:
        raise ConfigurationError("Another change is under way: apply this one when it is done.")
    if options.multichannel != stream.options.multichannel:
        raise ConfigurationError("multichannel says how the source is read: start a new session for that.")
    if options == stream.options:
        return
    if stream.budget.most < math.inf:
        limit_seconds(options, stream.budget.most)
    if stream.capture.audio is None or stream.capture.audio.frame_bytes is None:
        raise ConfigurationError(ONCE)
    change = Change(options)
    stream.request(change)
    try:
        await runner.wait_until(lambda: change.done or runner.closed)
    except asyncio.CancelledError:
        # Options that a connection is being opened with stay.
        if stream.change is change:
            stream.request(None)
        raise
    if change.error:
        raise change.error
    if not change.done:
        raise ConfigurationError("The session ended before its options were changed.")


def _connection(runner: Runner) -> Connection:
    stream = runner.stream
    if stream.connection is None or stream.state is not State.OPEN:
        what = f"Only an open session can do this, and no replay; this one is {stream.state.value}."
        raise ConfigurationError(what)
    return stream.connection
