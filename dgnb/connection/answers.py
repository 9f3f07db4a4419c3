"""`Answers`: whether a server answers as Deepgram does, or speaks another protocol."""

from __future__ import annotations

import logging
from typing import Final

from dgnb.connection.errors import one_line

logger = logging.getLogger("dgnb")

_UNKNOWN: Final = 2
"""Answers of unknown types, before any of Deepgram's, after which the server is doubted to speak its protocol."""
_BINARY: Final = 20
"""Answers after which a server that answers with binary frames is given up."""
_FOREIGN: Final = (
    "It does not seem to speak Deepgram's protocol: is endpoint the address of a server that answers at /v1/listen as "
    "Deepgram does?"
)


class Answers:
    """The answers of a server up to the first one that is Deepgram's.

    Attributes:
        recognised: Whether one of Deepgram's came.
        doubt: The text of the doubt, once there is one.
        first: The server's first words, or "".
        hopeless: Whether the server is to be given up.
    """

    def __init__(self) -> None:
        self.recognised = False
        self.doubt = self.first = ""
        self.hopeless = False
        self._count = 0

    def wonder(self, data: bytes, problem: str = "") -> bool:
        """Take an answer that is not Deepgram's. Returns whether there is a doubt that was none before."""
        self._count += 1
        text = data.decode("utf-8", "replace")
        if "\0" in text or "\ufffd" in text:
            problem = "The server answers with binary frames"
            self.hopeless = self._count >= _BINARY
        else:
            self.first = self.first or one_line(text)
        if self.doubt or not (problem or self._count >= _UNKNOWN):
            return False
        self.doubt = f"{problem or f'The server answers with unknown messages: {self.first!r}'}. {_FOREIGN}"
        logger.warning("%s", self.doubt)
        return True

    @property
    def foreign(self) -> str:
        """A sentence for an error where the server has answered, and with nothing of Deepgram's; else ""."""
        return f" {_FOREIGN}" if self._count and not self.recognised else ""
