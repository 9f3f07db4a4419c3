"""A strict fake of `/v2/listen` (Flux): turns of the words that arrived. It refuses what Deepgram refuses there."""

from __future__ import annotations

import json
from typing import Any

from websockets.frames import Close

from .audio import BYTES_PER_SECOND, Token
from .fake import WORD, Core

__all__ = ["FluxCore"]

_CONTROLS = {
    "ForceEndTurn": set(),
    "CloseStream": set(),
    "Configure": {"keyterms", "thresholds", "language_hints", "numerals"},
}
_IDLE = 60.0
_QUIET = 2
"""Blocks of silence that end a turn."""


class FluxCore(Core):
    """What Flux does with one connection. `finals` counts turns; see `Core` for the rest.

    Its manners: `startless`: a turn begins with an `Update`. A server may also refuse `Configure`, or not answer it.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._sequence = 0
        self._turn = 0
        self._event = ""
        self._eager = False
        self._quiet = 0
        self._configured = 0.0
        # Whether the window of a turn begins where the one before ended, or with its first word.
        self._tiles = self._rng.random() < 0.5
        self._tell(self._opened, "Connected")

    def ping(self, now: float) -> None:
        """Pings keep a connection open."""
        self._hears(now)

    @property
    def deadline(self) -> float:
        return float("inf") if self._draining or self.closed else self._last_frame + _IDLE

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
            self._tell(now, "Error", code="UNPARSABLE_CLIENT_MESSAGE", description="Unknown.")
            self.out.append((self._last_due, Close(1005, "")))
            self.closed = True
        elif kind == "CloseStream":
            self._drain(now)
        elif kind == "ForceEndTurn" and self._event:
            self._end(now, "manual")
        elif kind == "ForceEndTurn":
            self._tell(now, "Warning", code="FORCE_END_TURN_NO_ACTIVE_TURN", description="There is no turn.")
        else:
            self._configure(message, now)

    def _configure(self, message: dict[str, Any], now: float) -> None:
        if now < self._configured:
            self.violations.append(f"a Configure before the answer to another, at {now:.3f}")
        answer = self._rng.random()
        if answer < 0.2:
            self._configured = now + 5.0
        elif answer < 0.4:
            self._tell(now, "ConfigureFailure", code="INVALID_THRESHOLD", description="No.")
        else:
            thresholds = {"eot_threshold": 0.7, "eot_timeout_ms": 5000} | (message.get("thresholds") or {})
            terms = message.get("keyterms") or []
            self._tell(now, "ConfigureSuccess", thresholds=thresholds, keyterms=terms)
        self._configured = max(self._configured, self._last_due)

    def _hear(self, token: Token, now: float) -> None:
        word = token[0]
        self._tokens.append(token)
        spoken = [one for one in self._tokens if one[0] > 0]
        self._quiet = 0 if word > 0 else self._quiet + 1
        if not spoken:
            self._info(now, "Update")
        elif not self._event:
            self._event = "ongoing"
            self._info(now, "Update" if self._manner == "startless" else "StartOfTurn")
        elif self._eager and word > 0:
            self._eager = False
            self._info(now, "TurnResumed")
        elif len(spoken) >= self._blocks or self._quiet >= _QUIET:
            self._end(now, "model" if self._rng.random() < 0.8 else "timeout")
        elif not self._eager and word <= 0:
            self._eager = True
            self._info(now, "EagerEndOfTurn")
        else:
            self._info(now, "Update")

    def _end(self, now: float, trigger: str) -> None:
        self._info(now, "EndOfTurn", trigger)
        self._from = self._tokens[-1][2]
        self._tokens = []
        self._blocks = self._rng.choice((self._length(), self._length(), 60))
        self._turn += 1
        self._event, self._eager, self._quiet = "", False, 0
        self.finals += 1

    def _info(self, now: float, event: str, trigger: str | None = None) -> None:
        words = [(word, start / BYTES_PER_SECOND) for word, start, _ in self._tokens if word > 0]
        begin, end = self._from / BYTES_PER_SECOND, self._tokens[-1][2] / BYTES_PER_SECOND
        self._tell(
            now,
            "TurnInfo",
            event=event,
            turn_index=self._turn,
            audio_window_start=words[0][1] if words and not self._tiles else begin,
            audio_window_end=end,
            transcript=" ".join(f"w{word}" for word, _ in words),
            words=[
                {"word": f"w{word}", "confidence": 0.9, "start": start, "end": start + WORD} for word, start in words
            ],
            end_of_turn_confidence=0.8 if trigger else 0.1,
            **({"trigger": trigger} if trigger else {}),
        )

    def _tell(self, now: float, kind: str, **fields: Any) -> None:
        # A message that is never said has no number.
        if not self.muted:
            self._say(
                now, json.dumps({"type": kind, "request_id": self.request_id, "sequence_id": self._sequence} | fields)
            )
            self._sequence += 1

    def _drain(self, now: float) -> None:
        if self.muted:
            self.close(now, 1011, "NET-0000: as the simulation wants it")
            return
        self._draining = True
        for token in self._reader.flush():
            self._hear(token, now)
        # Not sent: Flux has no message like this.
        self.metadata = {"duration": self.received / BYTES_PER_SECOND}
        if not self.lingers:
            self.out.append((self._last_due, Close(1005, "")))
        self.closed = True
