"""`Requests`: what an open session can ask its server for: to finalize, and other options."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from dgnb.connection import Connection
from dgnb.endpoints import Endpoint
from dgnb.exceptions import ConfigurationError, ConnectionLost
from dgnb.messages import ConfigureFailure, ConfigureSuccess, Results, ServerMessage
from dgnb.options import LiveOptions
from dgnb.session.link import READ
from dgnb.session.runner import Runner, running_loop
from dgnb.session.stream import ONCE, Change, State

_ANSWER: Final = 2.0  # s for an answer. Deepgram does not promise one to Finalize.


def differing(before: LiveOptions, wanted: LiveOptions) -> set[str]:
    """The names of the options that differ."""
    return {name for name, value in vars(wanted).items() if value != vars(before)[name]}


def configurable(endpoint: Endpoint, wanted: LiveOptions, names: set[str]) -> bool:
    """Whether `Configure` can change these options. Deepgram's global endpoint takes it, with nova-3."""
    known = endpoint.kind != "custom" or endpoint.local
    return known and names <= {"keyterm", "numerals"} and wanted.model.startswith("nova-3")


class Requests:
    """Sends requests of a session, and waits for their answers."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._configuring = False

    async def finalize(self) -> bool:
        """See `LiveSession.finalize`."""
        request = self._connection().finalize()
        return await self._ask(request, lambda m: isinstance(m, Results) and bool(m.from_finalize)) is not None

    async def apply(self, options: LiveOptions) -> None:
        """See `LiveSession.apply`."""
        stream = self._runner.stream
        if running_loop() is not self._runner.loop:
            raise ConfigurationError("Options are applied in the loop that the session runs in: here another one runs.")
        connection = self._connection()
        if stream.change is not None or self._configuring:
            raise ConfigurationError("Another change is under way: apply this one when it is done.")
        if options.multichannel != stream.options.multichannel:
            raise ConfigurationError("multichannel says how the source is read: start a new session for that.")
        if options == stream.options or await self._configured(connection, options):
            return
        if stream.capture.audio is None or stream.capture.audio.frame_bytes is None:
            raise ConfigurationError(ONCE)
        change = Change(options)
        stream.request(change)
        try:
            await self._runner.wait_until(lambda: change.done or self._runner.closed)
        except asyncio.CancelledError:
            # Options that a connection is being opened with stay.
            if stream.change is change:
                stream.request(None)
            raise
        if change.error:
            raise change.error
        if not change.done:
            raise ConfigurationError("The session ended before its options were changed.")

    def _connection(self) -> Connection:
        stream = self._runner.stream
        if stream.connection is None or stream.state is not State.OPEN:
            what = f"Only an open session can do this, and no replay; this one is {stream.state.value}."
            raise ConfigurationError(what)
        return stream.connection

    async def _configured(self, connection: Connection, options: LiveOptions) -> bool:
        """Whether `Configure` changed all that differs."""
        stream = self._runner.stream
        changed = differing(stream.options, options)
        if not configurable(stream.endpoint, options, changed):
            return False
        self._configuring = True
        try:
            request = connection.configure(
                keyterms=list(options.keyterm) if "keyterm" in changed else None,
                numerals=options.numerals if "numerals" in changed else None,
            )
            answer = await self._ask(request, lambda m: isinstance(m, ConfigureSuccess | ConfigureFailure))
        finally:
            self._configuring = False
        if isinstance(answer, ConfigureSuccess):
            stream.changed(options)
        return isinstance(answer, ConfigureSuccess)

    async def _ask(self, request: Awaitable[None], answers: Callable[[ServerMessage], bool]) -> ServerMessage | None:
        """Send a request and wait for the first message that answers it; None when none comes in time."""
        transcript = self._runner.stream.transcript
        seen = transcript.count

        def answer() -> ServerMessage | None:
            return next(filter(answers, transcript.since(seen)), None)

        # The stream reports a lost connection.
        with contextlib.suppress(TimeoutError, ConnectionLost):
            async with asyncio.timeout(_ANSWER):
                await request
                await self._runner.wait_until(lambda: answer() is not None or self._runner.closed)
            return answer()
        # It may lie in the socket, where the process was frozen meanwhile.
        await asyncio.sleep(READ)
        return answer()
