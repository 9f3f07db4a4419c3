"""A strict fake of Deepgram: it recognises the words that arrived, and records and refuses what Deepgram refuses.

`Core` is one connection's far end, pure: frames in, messages out, on a clock that is passed in. `network` carries it
inside a simulation, `server` on a real socket.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import deque
from typing import Any

from websockets.frames import Close

from .audio import BYTES_PER_SECOND, Reader, Token

__all__ = ["WORD", "Core", "Meter"]

IDLE = 10.0
WORD = 0.36
"""Seconds for which a word lasts in its block."""
_BLOCKS = 15
"""A final is up to 6 s long."""
_WINDOW = 5.0
_PACE = 1.25
_BURST = 0.5
_CONTROLS = {"KeepAlive": set(), "Finalize": {"channel"}, "CloseStream": set(), "Configure": {"keyterms", "features"}}

Out = tuple[float, str | Close]


class Meter:
    """Measures the pace: the most audio in any 5 s, compared with real time."""

    def __init__(self) -> None:
        self.worst = 0.0
        self._window: deque[tuple[float, int]] = deque()
        self._sum = 0

    def count(self, now: float, size: int) -> bool:
        """Count bytes. Returns whether they are too many."""
        window = self._window
        window.append((now, size))
        self._sum += size
        while window[0][0] <= now - _WINDOW + 1e-6:
            self._sum -= window.popleft()[1]
        seconds = self._sum / BYTES_PER_SECOND
        self.worst = max(self.worst, (seconds - _BURST) / _WINDOW)
        return seconds > _PACE * _WINDOW + _BURST + 1e-6


class Core:
    """What Deepgram does with one connection. Times are seconds of any one clock.

    Args:
        rng: Decides how long finals are, and how late.
        now: When it was opened.
        interims: Whether to send them.
        meter: Whether to refuse audio that comes too fast.
        audit: Whether to compute the SHA-256 of the audio.
        longest: How many blocks a final covers at the most.
        number: Of the connection, for its request id.
        manner: What it does otherwise than Deepgram. `astride`: finals tile the time and end in the middle of a word,
            which stands in the next one. `silent`: finals begin and end with words, and there are none for silence.
            `shuffled`: now and then a final comes after the next one.

    Attributes:
        out: What is to be sent: (due, JSON text or Close), in order.
        violations: What Deepgram would not have taken.
        received: Bytes of audio.
        finals: How many were made.
        slow: Seconds that recognition takes on top of the usual.
        closed: Whether nothing more is heard.
        muted: Whether nothing more is said.
        lingers: Whether it leaves the closing to the client.
    """

    def __init__(
        self,
        rng: random.Random,
        now: float,
        *,
        interims: bool = False,
        meter: bool = False,
        audit: bool = False,
        longest: int = _BLOCKS,
        number: int = 0,
        manner: str = "",
    ) -> None:
        self.out: deque[Out] = deque()
        self.violations: list[str] = []
        self.received = 0
        self.finals = 0
        self.slow = 0.0
        self.closed = False
        self.muted = False
        self.lingers = False
        self.metadata: dict[str, Any] | None = None
        self.request_id = f"request-{number}"
        self._rng = rng
        self._interims = interims
        self._meter = Meter() if meter else None
        self._hash = hashlib.sha256() if audit else None
        self._reader = Reader()
        self._tokens: list[Token] = []
        self._from = 0
        self._last_frame = self._opened = now
        self._last_due = now
        self._draining = False
        self._manner = manner
        self._held: list[str] = []
        self._longest = longest
        self._blocks = self._length()

    @property
    def deadline(self) -> float:
        """When it gives up on a client that sends nothing."""
        if self._draining or self.closed:
            return float("inf")
        return (self._last_frame if self.received else self._opened) + IDLE

    def ping(self, now: float) -> None:
        """A ping arrived. It is answered below, and keeps no connection open."""

    def advance(self, now: float) -> None:
        """Do what is due by now."""
        if now >= (at := self.deadline):
            if self.received:
                reason = "NET-0001: neither audio nor a KeepAlive came for 10 s"
            else:
                reason = "NET-0001: no audio came within 10 s of opening"
            self.violations.append(f"{reason}, at {at:.3f}")
            self.close(at, 1011, reason)

    def binary(self, data: bytes, now: float) -> None:
        """A binary frame arrived."""
        if not self._hears(now):
            return
        if self._draining:
            self.violations.append(f"{len(data)} bytes after CloseStream")
            return
        if not data:
            self.violations.append("an empty binary frame")
            self._drain(now)
            return
        if data.startswith(b'{"type"'):
            self.violations.append(f"control as a binary frame: {data[:60]!r}")
            self.close(now, 1008, "DATA-0000: the audio could not be decoded")
            return
        if self._meter and self._meter.count(now, len(data)):
            self.violations.append(f"audio faster than {_PACE} times real time, at {now:.3f}")
        self.received += len(data)
        if self._hash:
            self._hash.update(data)
        if tokens := self._reader.feed(data):
            for token in tokens:
                self._hear(token, now)

    def text(self, data: str, now: float) -> None:
        """A text frame arrived."""
        if not self._hears(now):
            return
        try:
            message = json.loads(data)
            kind = message.pop("type")
            known = message.keys() <= _CONTROLS[kind]
        except (ValueError, KeyError, TypeError, AttributeError):
            kind, known = "", False
        if self._draining:
            self.violations.append(f"{data[:60]!r} after CloseStream")
        elif not known:
            self.violations.append(f"unknown text: {data[:60]!r}")
            self._say(now, '{"type":"Error","variant":"SchemaError","description":"Failed to parse text"}')
        elif kind == "CloseStream":
            self._drain(now)
        elif kind == "Finalize" and self._tokens:
            self._final(now, from_finalize=True)
        elif kind == "Configure":
            self._say(now, '{"type":"ConfigureSuccess"}')

    def close(self, now: float, code: int, reason: str = "") -> None:
        """Close from this end. Messages that are not due yet are never sent."""
        while self.out and self.out[-1][0] > now:
            self.out.pop()
        if not (self.out and isinstance(self.out[-1][1], Close)):
            self.out.append((now, Close(code, reason)))
        self.closed = True

    def client_closed(self, now: float, code: int = 1000) -> None:
        """A Close frame arrived, or the connection is gone."""
        self.close(now, code)

    def _hears(self, now: float) -> bool:
        self.advance(now)
        if self.closed:
            return False
        self._last_frame = now
        return True

    def _length(self) -> int:
        return self._rng.randint(1, min(self._longest, self._rng.choice((2, 6, _BLOCKS))))

    def _hear(self, token: Token, now: float) -> None:
        self._tokens.append(token)
        if len(self._tokens) >= self._blocks:
            self._final(now)
        elif self._interims and len(self._tokens) % 2 == 0:
            self._results(now, is_final=False)

    def _final(self, now: float, *, from_finalize: bool = False) -> None:
        kept: list[Token] = []
        if self._manner == "astride" and len(self._tokens) > 1 and not self._draining and self._tokens[-1][0] > 0:
            word, start, end = self._tokens.pop()
            kept, to = [(word, start, end)], (start + end) // 4 * 2
            self._tokens.append((0, start, to))
        self._results(now, is_final=True, from_finalize=from_finalize)
        self._from = self._tokens[-1][2] if self._tokens else self._from
        self._tokens = kept
        self._blocks = self._length()
        self.finals += 1

    def _results(self, now: float, *, is_final: bool, from_finalize: bool = False) -> None:
        begin, end = self._from, self._tokens[-1][2] if self._tokens else self._from
        words = [(word, start / BYTES_PER_SECOND) for word, start, _ in self._tokens if word > 0]
        rows = ",".join(
            f'{{"word":"w{word}","start":{start!r},"end":{start + WORD!r},"confidence":0.9}}' for word, start in words
        )
        text = " ".join(f"w{word}" for word, _ in words)
        if self._manner == "silent" and not from_finalize:
            if not words:
                return
            spoken = [token for token in self._tokens if token[0] > 0]
            begin, end = spoken[0][1], spoken[-1][2]
        final = "true" if is_final else "false"
        message = (
            f'{{"type":"Results","channel_index":[0,1],"duration":{(end - begin) / BYTES_PER_SECOND!r},'
            f'"start":{begin / BYTES_PER_SECOND!r},"is_final":{final},"speech_final":{final},'
            f'"from_finalize":{"true" if from_finalize else "false"},"channel":{{"alternatives":['
            f'{{"transcript":"{text}","confidence":0.9,"words":[{rows}]}}]}},'
            f'"metadata":{{"request_id":"{self.request_id}"}}}}'
        )
        if self._manner == "shuffled" and is_final and not self._held and self._rng.random() < 0.4:
            self._held.append(message)
            return
        self._say(now, message)
        if is_final and self._held:
            self._say(now, self._held.pop())

    def _say(self, now: float, text: str) -> None:
        if self.muted:
            return
        self._last_due = max(self._last_due, now + self.slow + self._rng.uniform(0.05, 1.0))
        self.out.append((self._last_due, text))

    def _drain(self, now: float) -> None:
        if self.muted:
            self.close(now, 1011, "NET-0000: no text for too long")
            return
        self._draining = True
        for token in self._reader.flush():
            self._hear(token, now)
        if self._tokens:
            self._final(now)
        if self._held:
            self._say(now, self._held.pop())
        self.metadata = {
            "type": "Metadata",
            "request_id": self.request_id,
            "duration": self.received / BYTES_PER_SECOND,
            "channels": 1,
        }
        if self._hash:
            self.metadata["sha256"] = self._hash.hexdigest()
        self._say(now, json.dumps(self.metadata))
        if not self.lingers:
            self.out.append((self._last_due, Close(1000, "")))
        self.closed = True
