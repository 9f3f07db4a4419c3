"""`Answers`: whether a server answers as Deepgram does, or speaks another protocol."""

from __future__ import annotations

from typing import Final

from dgnb.connection.errors import one_line

_UNKNOWN: Final = 2
"""Answers of unknown types, before any of Deepgram's, after which the server is doubted to speak its protocol."""
_HOPELESS: Final = 20
"""Answers before any of Deepgram's after which a server that sends what is no message is given up."""
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
    """

    def __init__(self) -> None:
        self.recognised = False
        self.doubt = self.first = ""
        self._count = 0

    def wonder(self, data: bytes, problem: str = "") -> None:
        """Take an answer that is not Deepgram's; `problem` says why it is no message at all."""
        self._count += 1
        text = data.decode("utf-8", "replace")
        if "\0" in text or "\ufffd" in text:
            problem = "The server answers with binary frames"
        else:
            self.first = self.first or one_line(text)
        if not self.doubt and (problem or self._count >= _UNKNOWN):
            self.doubt = f"{problem or f'The server answers with unknown messages: {self.first!r}'}. {_FOREIGN}"

    @property
    def hopeless(self) -> bool:
        """Whether to give the server up when the next answer is no message either."""
        return self._count >= _HOPELESS

    @property
    def foreign(self) -> str:
        """A sentence for an error where the server has answered, and with nothing of Deepgram's; else ""."""
        return f" {_FOREIGN}" if self._count and not self.recognised else ""
