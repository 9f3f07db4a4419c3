"""What lies between a client and Deepgram, in a simulation: below the real `dgnb.Connection`, above a `Core`."""

from __future__ import annotations

import asyncio
import json
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.frames import Close
from websockets.http11 import Response
from websockets.protocol import State

from dgnb import connection
from dgnb.connection import Connection

from .fake import Core, Meter
from .flux import FluxCore

__all__ = ["MemorySocket", "Network"]

_BUFFERS = 96 << 10
"""Bytes that fit between a sender and a peer that does not read: websockets' and the system's."""


class MemorySocket:
    """What websockets' connection is to `dgnb.Connection`, with a `Core` at the other end of a line that can fail.

    Attributes:
        core: The far end.
        opened: When.
        finals: How many reached the client.
        lost: When the line failed, and how; None while it has not.
        noticed: When the client let go of it, or was told.
        dead: Whether it stays broken.
        excused: Whether it is not the client's fault when the far end hears nothing for too long.
        starved: Whether the far end may have missed frames for a while.
        slowed: Whether its results may have been late.
        silence: The longest time between two frames of the client, apart from when its loop was blocked.
    """

    def __init__(self, network: Network, core: Core, number: int, close_timeout: float) -> None:
        self.core = core
        self.number = number
        self.transport = self
        self.response = self
        self.headers = {"dg-request-id": core.request_id}
        self.state = State.OPEN
        self.finals = 0
        self.lost: tuple[float, str] | None = None
        self.noticed: float | None = None
        self.silence = 0.0
        self.final_times: list[float] = []
        self.first_final = 0.0
        self.slowed = False
        self.starved = False
        self.dead = False
        self.excused = False
        self._sent_audio = False
        self.close_timeout = close_timeout
        self.meter = Meter()
        self._network = network
        self._loop = network.loop
        self.opened = self._last_send = self.heard_at = network.loop.time()
        self._messages: deque[bytes] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._ended: ConnectionClosedError | ConnectionClosedOK | None = None
        self._gone: asyncio.Future[None] = network.loop.create_future()
        self._up: deque[str | bytes] | None = None  # Frames that wait on a line that does not take them.
        self._up_bytes = 0
        self._reads = True
        self._down = True
        self._room: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")
        self._ping_timer = self._loop.call_later(connection.PING_INTERVAL, self._ping)
        self._arm()

    # What dgnb.Connection uses

    def get_extra_info(self, name: str) -> None: ...

    def is_closing(self) -> bool:
        return self._ended is not None

    def is_reading(self) -> bool:
        return len(self._messages) < 16

    async def send(self, data: str | bytes) -> None:
        if self._ended or self.state is not State.OPEN:
            raise self._ended or ConnectionClosedOK(None, Close(1000, ""))
        now = self._loop.time()
        self.core.advance(now)
        self._log_send(now, data)
        if self._up is None:
            self._arrive(data, now)
            return
        self._up.append(data)
        self._up_bytes += len(data)
        while self._up_bytes > _BUFFERS and not self._ended:
            if self._room is None or self._room.done():
                self._room = self._loop.create_future()
            await asyncio.shield(self._room)
        if self._ended:
            raise self._ended

    async def recv(self, decode: bool | None = None) -> bytes:
        while not self._messages:
            if self._ended:
                raise self._ended
            if self._waiter is not None:
                raise RuntimeError("recv() is running already")
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._messages.popleft()
        self._network.log(7, self.number, len(data))
        return data

    async def close(self, code: int = 1000, reason: str = "") -> None:
        if self._ended:
            return
        self._let_go()
        self.state = State.CLOSING
        if self._up is None:
            self.core.client_closed(self._loop.time() + self._network.latency)
            self._arm()
        done, _ = await asyncio.wait([self._gone], timeout=self.close_timeout)
        if not done:
            self.abort()

    def abort(self) -> None:
        self._let_go()
        self.core.client_closed(self._loop.time(), 1006)
        self._end(None, None)

    # Faults

    @property
    def open(self) -> bool:
        """Whether the client considers it open."""
        return self._ended is None

    @property
    def ended_well(self) -> bool:
        """Whether both ends closed it properly."""
        return self._ended is not None and self._ended.rcvd is not None and self._ended.rcvd.code in (1000, 1005)

    @property
    def ended_by_client(self) -> bool:
        """Whether the client ended it before a fault, or both ends closed it properly."""
        lost = self.lost is not None and (self.noticed is None or self.lost[0] <= self.noticed)
        return self.ended_well or not lost

    def reset(self) -> None:
        """The line breaks. Frames on their way are lost, and both ends learn of it."""
        self.fail("reset")
        self.core.client_closed(self._loop.time(), 1006)
        self._end(None, None)

    def server_closes(self, code: int, reason: str = "") -> None:
        """The server closes by itself."""
        self.fail(f"close {code}" if self._down else "close on a line that stands")
        self.core.advance(self._loop.time())
        self.core.close(self._loop.time(), code, reason)
        self._arm()

    def hold(self, *, down: bool = False) -> None:
        """The peer stops reading, and with `down` nothing comes back either. Frames wait on the way."""
        if self._up is None:
            self._up = deque()
        self._down = self._down and not down
        self._reads = False
        self.starved = self.slowed = True

    def blackhole(self) -> None:
        """All packets are lost from now on, also a close frame on its way, and neither end learns of it."""
        self.fail("blackhole")
        self.dead = True
        self.hold(down=True)

    def hold_for_ever(self) -> None:
        """The peer stops reading for ever."""
        self.fail("held")
        self.dead = True
        self.hold()

    def release(self) -> None:
        """All waiting frames arrive."""
        held, self._up, self._up_bytes = self._up, None, 0
        self._down = self._reads = True
        now = self._last_send = self._loop.time()
        for data in held or ():
            self._arrive(data, now)
        if self._room and not self._room.done():
            self._room.set_result(None)
        self._turn()

    def mute(self) -> None:
        """The far end receives all frames, answers pings, and sends no more messages."""
        self.slowed = self.core.muted = True

    def swallow(self) -> None:
        """All frames arrive, and nothing comes back any more."""
        self.fail("swallow")
        self.dead = True
        self._down = False

    # Helpers

    def fail(self, how: str) -> None:
        """Note that the line has failed."""
        if self.open and (self.lost is None or how == "blackhole"):
            self.lost = (self.lost[0] if self.lost else self._loop.time(), how)
            self._network.log(3, self.number, len(how))

    def _let_go(self) -> None:
        if self.noticed is None:
            self.noticed = self._loop.time()

    def _note_silence(self, now: float) -> None:
        if self._reads and self.lost is None:
            silence = now - self._last_send
            if silence > 4.2:  # The KeepAlive interval explains shorter silences.
                held_up = sum(max(0.0, min(now, b) - max(self._last_send, a)) for a, b in self._network.blocked())
                silence -= held_up
                self.excused = self.excused or held_up > 5
            self.silence = max(self.silence, silence)

    def _log_send(self, now: float, data: str | bytes) -> None:
        network = self._network
        self._note_silence(now)
        self._last_send = now
        network.log(1, self.number, len(data))
        if not isinstance(data, str):
            if not self._sent_audio:
                self._sent_audio = True
                if network.on_first_audio:
                    network.on_first_audio(self, data)
            # A server on this machine gets at full speed what waits when the session is stopped.
            fast = network._local and network.stopped is not None
            if not fast and self.meter.count(now, len(data)) and len(network.violations) < 10:
                network.violations.append(f"INV7 connection {self.number}: too fast at {now:.2f} s")

    def _arrive(self, data: str | bytes, now: float) -> None:
        before = len(self.core.out)
        if isinstance(data, str):
            self.core.text(data, now + self._network.latency)
        else:
            self.core.binary(data, now + self._network.latency)
        if len(self.core.out) != before:
            self._arm()

    def _arm(self) -> None:
        """Wake when the far end has something for the client, or gives up on it."""
        if self._ended:
            return
        out = self.core.out
        at = self.core.deadline if self._down else float("inf")
        if out and self._down:
            at = min(at, out[0][0] + self._network.latency)
        if at == float("inf") or (self._timer and self._timer_at <= at):
            return
        if self._timer:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._turn)

    def _turn(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
        if self._ended:
            return
        now = self._loop.time()
        self.core.advance(now)
        out, latency = self.core.out, self._network.latency
        while out and self._down and out[0][0] + latency <= now + 1e-9:
            _, what = out.popleft()
            if isinstance(what, Close):
                self._end(what, Close(what.code if what.code != 1006 else 1000, ""))
                return
            self._deliver(what, now)
        self._arm()

    def _deliver(self, text: str, now: float) -> None:
        if '"is_final":true' in text or '"EndOfTurn"' in text:
            if not self.final_times:
                final = json.loads(text)
                self.first_final = final.get("duration") or final["audio_window_end"]
                self.final_times.append(now)
            self.finals += 1
        elif self._hears_silence(text):
            # That is progress too: Flux has no final for silence.
            self.first_final = json.loads(text)["audio_window_end"]
            self.final_times.append(now)
        self._network.log(2, self.number, len(text))
        self.heard_at = now
        self._messages.append(text.encode())
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)

    def _hears_silence(self, text: str) -> bool:
        if self.final_times or '"transcript": ""' not in text:
            return False
        return bool(json.loads(text)["audio_window_end"] > 2.4)

    def _ping(self) -> None:
        if self._up is None and self._down:
            self.heard_at = self._loop.time()
            self.core.ping(self.heard_at)
        self._ping_timer = self._loop.call_later(connection.PING_INTERVAL, self._ping)

    def _end(self, rcvd: Close | None, sent: Close | None) -> None:
        if self._ended:
            return
        now = self._loop.time()
        if rcvd and not self.core.metadata:
            self._note_silence(now)
        if self.lost or self.starved:
            self.excused = True
        if rcvd and rcvd.code not in (1000, 1005) and self.lost is None:
            self.lost = (now, f"close {rcvd.code} {rcvd.reason}")
        self._let_go()
        kind = ConnectionClosedOK if rcvd and rcvd.code in (1000, 1001, 1005) else ConnectionClosedError
        self._ended = kind(rcvd, sent, True if rcvd and sent else None)
        self.state = State.CLOSED
        self._network.log(4, self.number, rcvd.code if rcvd else 1006)
        for timer in (self._timer, self._ping_timer):
            if timer:
                timer.cancel()
        for future in (self._waiter, self._room, self._gone):
            if future and not future.done():
                future.set_result(None)
        self._network.ended(self)


class Network:
    """What lies between a client and Deepgram, in a simulation.

    Attributes:
        sockets: Every connection there was, in order.
        attempts: When each handshake began, and how it ended ("" while it has not).
        answers: What becomes of the next handshakes: "hangs", "refused", or a status as "429+3", with `Retry-After`.
            When there is none, they succeed; so does "mute", but the server says nothing then.
        latency: Seconds one way.
        down: None, or how handshakes fail: "refused" or "silent".
        violations: What a client must not do.
        planned: Which of the attempts follow a connection that the client itself ended.
        also: What may be in a query that was not in the first one.
        trace: A number that says what happened, in which order and when.
    """

    def __init__(
        self,
        loop: Any,
        seed: object,
        *,
        interims: bool = False,
        audit: bool = False,
        manner: str = "",
        local: bool = False,
        flux: bool = False,
    ) -> None:
        self.loop = loop
        self._flux = flux
        self._mute_next = False
        self._manner = manner
        self._local = local
        self.sockets: list[MemorySocket] = []
        self.connections: list[Connection] = []
        self.attempts: list[tuple[float, str]] = []
        self.answers: deque[str] = deque()
        self.latency = 0.02
        self.slow = 0.0
        self.down: str | None = None
        self.violations: list[str] = []
        self.also: set[str] = set()
        self.planned: set[int] = set()
        self.trace = 0
        self.on_open: list[Callable[[MemorySocket], None]] = []
        self.on_end: list[Callable[[MemorySocket], None]] = []
        self.on_first_audio: Callable[[MemorySocket, bytes], None] | None = None
        self.stopped: float | None = None
        self._seed = seed
        self._interims = interims
        self._audit = audit
        self._query: str | None = None
        self._opening = 0
        self._told = ""

    @property
    def socket(self) -> MemorySocket | None:
        """The connection that is open, or None."""
        return self.sockets[-1] if self.sockets and self.sockets[-1].open else None

    def blocked(self) -> list[tuple[float, float]]:
        """When the client's loop was held up."""
        return self.loop.blocked  # type: ignore[no-any-return]

    def log(self, kind: int, number: int, value: int) -> None:
        """Add to the trace."""
        self.trace = hash((self.trace, self.loop.now, kind, number, value))

    def ended(self, socket: MemorySocket) -> None:
        """A connection is over for the client."""
        for act in self.on_end:
            act(socket)

    def connect(self, options: Any = None, **keywords: Any) -> Connect:
        """Replaces `dgnb.connection.connect`."""
        return Connect(self, options, **keywords)

    async def handshake(self, url: str, open_timeout: float, close_timeout: float) -> MemorySocket:
        """Do what websockets does: return a socket, or raise what websockets or the system would raise."""
        now = self.loop.time()
        if self.stopped is not None:
            self.violations.append(f"INV10 a connect at {now:.2f} s, after stop() at {self.stopped:.2f} s")
        if (live := [s.number for s in self.sockets if s.open]) or self._opening:
            self.violations.append(f"INV10 a connect at {now:.2f} s while {live or 'another'} is open")
        index = len(self.attempts)
        if self.sockets and self.sockets[-1].ended_by_client:
            self.planned.add(index)
        self.attempts.append((now, ""))
        self.log(5, index, 0)
        self._opening += 1
        self._told = ""
        try:
            async with asyncio.timeout(open_timeout):
                await self._answer()
        except BaseException as error:
            self.attempts[index] = (now, self._told or type(error).__name__)
            raise
        finally:
            self._opening -= 1
        self.attempts[index] = (now, "open")
        query = "&".join(part for part in url.partition("?")[2].split("&") if part not in self.also)
        if self._query is None:
            self._query = query
        elif query != self._query:
            self.violations.append(f"INV9 another query: {query} after {self._query}")
        return self._open(close_timeout)

    async def _answer(self) -> None:
        await asyncio.sleep(2 * self.latency)
        if self.down == "silent":
            await asyncio.Event().wait()
        if self.down:
            raise OSError(101, "Network is unreachable")
        if self.answers:
            answer = self._told = self.answers.popleft()
            if answer == "mute":
                self._mute_next = True
                return
            if answer == "hangs":
                await asyncio.Event().wait()
            if answer == "refused":
                raise ConnectionRefusedError(111, "Connection refused")
            status, _, wait = answer.partition("+")
            headers = Headers({"dg-error": "as the simulation wants it", "dg-request-id": "refused"})
            if wait:
                headers["Retry-After"] = wait
            raise InvalidStatus(Response(int(status), "", headers, b""))

    def _open(self, close_timeout: float) -> MemorySocket:
        number = len(self.sockets)
        core = (FluxCore if self._flux else Core)(
            random.Random(f"{self._seed}/{number}"),
            self.loop.time(),
            interims=self._interims,
            audit=self._audit,
            number=number,
            manner=self._manner,
        )
        core.slow = self.slow
        if self._mute_next:
            self._mute_next = False
            core.muted = True
            core.out.clear()
        socket = MemorySocket(self, core, number, close_timeout)
        socket.slowed = self.slow > 0 or bool(self._manner)
        self.sockets.append(socket)
        self.log(6, number, 0)
        for act in tuple(self.on_open):
            act(socket)
        return socket


class Connect(connection.connect):
    """The real `connect()` on a `Network`."""

    def __init__(self, network: Network, options: Any, **keywords: Any) -> None:
        super().__init__(options, **keywords)
        self._network = network

    async def _handshake(self, url: str, address: Any) -> Any:
        return await self._network.handshake(url, self._open_timeout, self._close_timeout)

    async def _open(self) -> Connection:
        opened = await super()._open()
        self._network.connections.append(opened)
        return opened
