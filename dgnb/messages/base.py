"""What the records of the wire are made of."""

from __future__ import annotations

from typing import Annotated

import msgspec

Seconds = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
"""A finite time: a number in JSON may overflow to infinity."""

Whole = Annotated[int, msgspec.Meta(ge=-(2**53), le=2**53)]
"""An integer that fits in a table's column: one in JSON may have any length."""


class Plain(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A record of the wire."""

    # gc=False: records from JSON hold no cycles, and the garbage collector would take a third of a long session's time.


class Message(Plain, frozen=True, tag_field="type", tag=True):
    """A message whose `type` on the wire is the name of the class."""

    @property
    def type(self) -> str:
        """The name on the wire."""
        return type(self).__name__
