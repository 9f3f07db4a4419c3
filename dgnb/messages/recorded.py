"""What the answer of `POST /v1/listen`, for a recording, has beside its words."""

from __future__ import annotations

from typing import Any

import msgspec

from dgnb.messages.base import Message


class Answer(Message, frozen=True):
    """The answer as it came, without words, texts and utterances: those are `Results`.

    It is no message of the wire: session files keep it as one, so that they hold all of a transcript.
    """

    metadata: dict[str, Any] = msgspec.field(default_factory=dict)
    results: dict[str, Any] = msgspec.field(default_factory=dict)
