"""What an open session can ask its server for: to finalize, and other options."""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import Final

from dgnb.connection import Connection
from dgnb.exceptions import ConfigurationError, ConnectionLost
from dgnb.messages import ConfigureFailure, ConfigureSuccess, Thresholds, Warning
from dgnb.options import FluxOptions, StreamOptions, fields_of
from dgnb.pricing import limit_seconds
from dgnb.session import checks
from dgnb.session.link import READ
from dgnb.session.runner import Runner, running_loop
from dgnb.session.stream import ONCE, Change, State
from dgnb.transcript.turns import heard_in

_ANSWER: Final = 2.0  # s for an answer. Deepgram does not promise one to Finalize.
_NO_TURN: Final = "FORCE_END_TURN_NO_ACTIVE_TURN"
_CONFIGURED: Final = 5.0  # s after which a Configure counts as lost.
_THRESHOLDS: Final = ("eager_eot_threshold", "eot_threshold", "eot_timeout_ms")
LIVE: Final = {*_THRESHOLDS, "keyterm", "language_hint", "numerals"}
"""What Flux changes without another connection."""


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
    stream, connection = runner.stream, _changeable(runner, options)
    if options == stream.options:
        return
    change, configured = Change(options), _configurable(stream.options, options)
    if not configured and (stream.capture.audio is None or stream.capture.audio.frame_bytes is None):
        raise ConfigurationError(ONCE)
    stream.change = change
    try:
        if configured:
            await _configure(runner, connection, change, configured)
        if stream.change is change:
            stream.request(change)
        await runner.wait_until(lambda: change.done or runner.closed)
    except asyncio.CancelledError:
        # Options that a connection is being opened with stay.
        if stream.change is change:
            # Nobody knows what became of a Configure: another connection has the old options for certain.
            stream.request(Change(stream.options) if configured else None)
        raise
    if change.error:
        raise change.error
    if not change.done:
        raise ConfigurationError("The session ended before its options were changed.")


def _changeable(runner: Runner, options: StreamOptions) -> Connection:
    """The connection of a session that may take other options now; else `ConfigurationError`."""
    stream = runner.stream
    if running_loop() is not runner.loop:
        raise ConfigurationError("Options are applied in the loop that the session runs in: here another one runs.")
    connection = _connection(runner)
    if stream.change is not None:
        raise ConfigurationError("Another change is under way: apply this one when it is done.")
    if options.multichannel != stream.options.multichannel:
        raise ConfigurationError("multichannel says how the source is read: start a new session for that.")
    checks.gate(stream.capture.ledger.gate is not None, options)
    if stream.budget.most < math.inf:
        limit_seconds(options, stream.budget.most)
    return connection


def _configurable(old: StreamOptions, new: StreamOptions) -> set[str]:
    """The options that differ, if Flux changes all of them without another connection; else none."""
    if not (isinstance(old, FluxOptions) and isinstance(new, FluxOptions)):
        return set()
    differ = {name for name in fields_of(new) if getattr(old, name) != getattr(new, name)}
    # What Configure leaves out stays as it is, so it can't switch eager ends of turns off.
    off = "eager_eot_threshold" in differ and new.eager_eot_threshold is None
    return set() if off or differ - LIVE else differ


async def _configure(runner: Runner, connection: Connection, change: Change, differ: set[str]) -> None:
    """Have Flux change options. Without an answer the change goes on waiting, for another connection."""
    stream, options, seen = runner.stream, change.options, runner.stream.transcript.count
    assert isinstance(options, FluxOptions)

    def answer() -> ConfigureSuccess | ConfigureFailure | None:
        said = stream.transcript.since(seen)
        return next((one for one in said if isinstance(one, ConfigureSuccess | ConfigureFailure)), None)

    thresholds = Thresholds(*(getattr(options, name) for name in _THRESHOLDS))
    with contextlib.suppress(TimeoutError, ConnectionLost):
        async with asyncio.timeout(_CONFIGURED):
            await connection.configure(
                keyterms=options.keyterm if "keyterm" in differ else None,
                numerals=options.numerals if "numerals" in differ else None,
                thresholds=thresholds if differ.intersection(_THRESHOLDS) else None,
                language_hints=options.language_hint if "language_hint" in differ else None,
            )
            await runner.wait_until(lambda: answer() is not None or stream.change is not change or runner.closed)
    said = answer()
    if said is None or stream.change is not change:
        return
    stream.change = None
    if isinstance(said, ConfigureFailure):
        why = ": ".join(filter(None, (said.code, said.description)))
        raise ConfigurationError(f"The server refused the change ({why}). The stream goes on with {stream.options!r}.")
    stream.changed(change)


def _connection(runner: Runner) -> Connection:
    stream = runner.stream
    if stream.connection is None or stream.state is not State.OPEN:
        what = f"Only an open session can do this, and no replay; this one is {stream.state.value}."
        raise ConfigurationError(what)
    return stream.connection
